//! What is logged. Alone in its file, because a subscriber that is to hear everything is the process's.

mod support;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use kube_informer::Informers;
use serde_json::{Value, json};
use support::{Blog, Reply, Server, Then, blog, event};

#[tokio::test(start_paused = true)]
async fn no_content_of_an_object_is_logged() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let secret = |version: u64, url: Value| {
        let mut blog = blog("a", version);
        blog["spec"]["url"] = url;
        blog
    };
    let lines = vec![
        event("MODIFIED", &secret(6, json!({"password": "hunter2"}))),
        event("MODIFIED", &secret(7, json!("hunter2"))),
        event("MODIFIED", &json!({"metadata": {"resourceVersion": "hunter2"}})),
    ];
    let server = Server::new(move |call| match call.index {
        0 => Reply::status(422, "Invalid", "no"),
        1 => Reply::list(5, &[secret(4, json!("hunter2")), secret(5, json!(["hunter2"]))]),
        _ => Reply::watch(lines.clone(), Then::Break),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut status = blogs.status();
    status.wait_for(|status| status.error().is_some()).await.unwrap();
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("quarantined") && text.contains("trying again"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
