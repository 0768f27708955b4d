//! What clients of `pods/exec`, `pods/attach` and `pods/portforward` speak once their connection is upgraded: channels over
//! WebSocket, streams over SPDY, and SPDY through WebSocket.
//!
//! Nothing here knows requests. A session ends when its client leaves, or when it is dropped.

mod channels;
mod command;
mod forward;
mod port_channels;
mod port_streams;
mod spdy;
mod spdy_command;
mod tunnel;

pub(crate) use self::channels::{Codec, ProcessChannels, Version, accept_key};
pub(crate) use self::command::{Job, Streams, run};
pub(crate) use self::forward::Ports;
pub(crate) use self::port_channels::forward_channels;
pub(crate) use self::port_streams::forward_streams;
pub(crate) use self::spdy_command::ProcessStreams;
pub(crate) use self::tunnel::through_websocket;
