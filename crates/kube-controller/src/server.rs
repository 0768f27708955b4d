//! stub
pub(crate) async fn serve(
    _l: tokio::net::TcpListener,
    _v: std::sync::Arc<crate::view::View>,
    c: tokio_util::sync::CancellationToken,
) {
    c.cancelled().await
}
