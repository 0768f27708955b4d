//! stub
#[derive(Debug)]
pub struct Queue {}
