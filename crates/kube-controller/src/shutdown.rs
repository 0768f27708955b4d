//! stub
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Signal(&'static str),
    Cancelled,
}
pub(crate) async fn signal() -> &'static str {
    std::future::pending().await
}
impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
