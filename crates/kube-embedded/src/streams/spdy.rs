//! The part of SPDY/3.1 that Go's clients of Kubernetes use: `github.com/moby/spdystream`, without flow control.
//!
//! Only the client opens streams. Its headers are compressed with a dictionary; the server's replies have none.

use std::io;
use std::sync::LazyLock;

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The number of bytes of a data frame that are read at a time.
const PIECE: usize = 32 * 1024;
/// The largest control frame that a client may send, and the most that its headers may be, decompressed.
const MAX_CONTROL: usize = 64 * 1024;

const CONTROL: u32 = 0x8003_0000;
const SYN_STREAM: u32 = CONTROL | 1;
const SYN_REPLY: u32 = CONTROL | 2;
const RST_STREAM: u32 = CONTROL | 3;
const PING: u32 = CONTROL | 6;
const GO_AWAY: u32 = CONTROL | 7;
const FIN: u8 = 1;
/// Why a stream is reset.
const REFUSED: u32 = 3;

/// What the headers of a frame are compressed with: section 2.6.10.1 of the specification. The words are preceded by their
/// lengths.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let words = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow \
                 authorization cache-control connection content-base content-encoding content-language content-length \
                 content-location content-md5 content-range content-type date etag expect expires from host if-match \
                 if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
                 proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
                 user-agent vary via warning www-authenticate method get status";
    let more = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"];
    let rest = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
                203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
                404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug \
                Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
                application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,\
                sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let mut dictionary = Vec::new();
    for word in words.split(' ').chain(more) {
        dictionary.extend_from_slice(&(word.len() as u32).to_be_bytes());
        dictionary.extend_from_slice(word.as_bytes());
    }
    dictionary.extend_from_slice(rest.as_bytes());
    dictionary
});

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Open {
        stream: u32,
        headers: Headers,
    },
    Data {
        stream: u32,
        bytes: Bytes,
        /// Whether the client sends no more on the stream.
        is_last: bool,
    },
    Reset {
        stream: u32,
    },
    Ping {
        id: u32,
    },
}

/// The headers of a stream. Their names are in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Headers(Vec<(String, String)>);

/// Reads a client's frames.
pub(super) struct Reader<R> {
    io: R,
    inflate: Decompress,
    /// The data frame that is being read.
    data: Option<Data>,
}

#[derive(Clone, Copy)]
struct Data {
    stream: u32,
    left: usize,
    is_fin: bool,
}

/// Writes frames to a client.
pub(super) struct Writer<W> {
    io: W,
    /// Whether a reply was sent, and with it the head of the compressed stream.
    has_replied: bool,
}

impl Headers {
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(it, _)| it == name).map_or("", |(_, value)| value)
    }

    fn parse(mut block: &[u8]) -> Option<Self> {
        let mut count = block.try_get_u32().ok()?;
        let mut text = || {
            let length = usize::try_from(block.try_get_u32().ok()?).ok()?;
            let (text, rest) = block.split_at_checked(length)?;
            block = rest;
            String::from_utf8(text.to_vec()).ok()
        };
        let mut headers = Vec::new();
        while count > 0 {
            headers.push((text()?, text()?));
            count -= 1;
        }
        Some(Self(headers))
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(io: R) -> Self {
        Self { io, inflate: Decompress::new(true), data: None }
    }

    /// The next frame. `None`: the client has left.
    ///
    /// # Errors
    /// Fails if the client does not keep to the protocol.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(data) = self.data.take() {
                return self.piece(data).await.map(Some);
            }
            let word = match self.io.read_u32().await {
                Ok(word) => word,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            };
            let [flags, length @ ..] = self.io.read_u32().await?.to_be_bytes();
            let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            if word & 0x8000_0000 == 0 {
                self.data = Some(Data { stream: word, left: length, is_fin: flags & FIN != 0 });
                continue;
            }
            if length > MAX_CONTROL {
                return Err(invalid("a control frame is too large"));
            }
            let mut body = vec![0; length];
            self.io.read_exact(&mut body).await?;
            match self.control(word, &body)? {
                Control::Frame(frame) => return Ok(Some(frame)),
                Control::Ignored => {}
                Control::End => return Ok(None),
            }
        }
    }

    /// Reads some of a data frame.
    async fn piece(&mut self, mut data: Data) -> io::Result<Frame> {
        let mut bytes = vec![0; data.left.min(PIECE)];
        self.io.read_exact(&mut bytes).await?;
        data.left -= bytes.len();
        if data.left > 0 {
            self.data = Some(data);
        }
        let is_last = data.is_fin && data.left == 0;
        Ok(Frame::Data { stream: data.stream, bytes: bytes.into(), is_last })
    }

    fn control(&mut self, kind: u32, mut body: &[u8]) -> io::Result<Control> {
        let mut number = || body.try_get_u32().map_err(|_| invalid("a control frame is too short"));
        Ok(match kind {
            SYN_STREAM => {
                let stream = number()?;
                // The stream that it belongs to, a priority and a slot.
                let headers = body.get(6..).ok_or_else(|| invalid("a control frame is too short"))?;
                let headers = Headers::parse(&self.inflate(headers)?);
                let headers = headers.ok_or_else(|| invalid("headers cannot be read"))?;
                Control::Frame(Frame::Open { stream, headers })
            }
            RST_STREAM => Control::Frame(Frame::Reset { stream: number()? }),
            PING => Control::Frame(Frame::Ping { id: number()? }),
            GO_AWAY => Control::End,
            // Settings, windows, and what belongs to streams of the server.
            _ => Control::Ignored,
        })
    }

    /// Decompresses the headers of a frame. All headers of a connection are one compressed stream.
    fn inflate(&mut self, mut compressed: &[u8]) -> io::Result<Vec<u8>> {
        let mut headers = Vec::with_capacity(1024);
        loop {
            let before = (self.inflate.total_in(), headers.len());
            let done = self.inflate.decompress_vec(compressed, &mut headers, FlushDecompress::Sync);
            let read = usize::try_from(self.inflate.total_in() - before.0).unwrap_or(usize::MAX);
            compressed = compressed.get(read..).unwrap_or_default();
            match done {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&DICTIONARY).map_err(io::Error::other)?;
                }
                Err(error) => return Err(invalid(&error.to_string())),
                Ok(_) if headers.len() == headers.capacity() => {
                    if headers.len() >= MAX_CONTROL {
                        return Err(invalid("headers are too large"));
                    }
                    headers.reserve(headers.len());
                }
                Ok(_) if compressed.is_empty() => return Ok(headers),
                Ok(_) if (read, headers.len()) == (0, before.1) => {
                    return Err(invalid("headers cannot be decompressed"));
                }
                Ok(_) => {}
            }
        }
    }
}

enum Control {
    Frame(Frame),
    Ignored,
    /// The client goes away.
    End,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(io: W) -> Self {
        Self { io, has_replied: false }
    }

    /// Accepts a stream.
    pub(super) async fn reply(&mut self, stream: u32) -> io::Result<()> {
        // No headers: the number 0, in a block that is stored as it is (RFC 1951, 3.2.4), and an empty block, after which
        // decompressors hand out what they have. The first one follows the head of a compressed stream without a dictionary
        // (RFC 1950).
        let head: &[u8] = if self.has_replied { &[] } else { &[0x78, 0x01] };
        let block: &[u8] = &[0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        self.has_replied = true;
        self.control(SYN_REPLY, &[&stream.to_be_bytes(), head, block].concat()).await
    }

    /// Sends data, and with `is_last` the end of the server's side of a stream.
    pub(super) async fn data(&mut self, stream: u32, bytes: &[u8], is_last: bool) -> io::Result<()> {
        let mut pieces = bytes.chunks(PIECE).peekable();
        loop {
            let piece = pieces.next().unwrap_or_default();
            let fin = is_last && pieces.peek().is_none();
            self.frame(stream, if fin { FIN } else { 0 }, piece).await?;
            if pieces.peek().is_none() {
                return self.io.flush().await;
            }
        }
    }

    /// Refuses a stream.
    pub(super) async fn refuse(&mut self, stream: u32) -> io::Result<()> {
        self.control(RST_STREAM, &[stream.to_be_bytes(), REFUSED.to_be_bytes()].concat()).await
    }

    pub(super) async fn ping(&mut self, id: u32) -> io::Result<()> {
        self.control(PING, &id.to_be_bytes()).await
    }

    /// Says that this is the end, and closes the server's side of the connection.
    pub(super) async fn go_away(&mut self, last_stream: u32) -> io::Result<()> {
        self.control(GO_AWAY, &[last_stream.to_be_bytes(), [0; 4]].concat()).await?;
        self.io.shutdown().await
    }

    async fn control(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        self.frame(kind, 0, body).await?;
        self.io.flush().await
    }

    async fn frame(&mut self, word: u32, flags: u8, body: &[u8]) -> io::Result<()> {
        let [_, length @ ..] = (body.len() as u32).to_be_bytes();
        let frame = [&word.to_be_bytes(), &[flags][..], &length, body].concat();
        self.io.write_all(&frame).await
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// The headers of some frames, compressed as a client does.
    fn compress(blocks: &[&[(&str, &str)]]) -> Vec<Vec<u8>> {
        let mut deflate = Compress::new(Compression::best(), true);
        deflate.set_dictionary(&DICTIONARY).unwrap();
        let one = |headers: &&[(&str, &str)]| {
            let mut block = (headers.len() as u32).to_be_bytes().to_vec();
            for text in headers.iter().flat_map(|(name, value)| [name, value]) {
                block.extend((text.len() as u32).to_be_bytes());
                block.extend(text.as_bytes());
            }
            let mut compressed = Vec::with_capacity(200 + block.len());
            deflate.compress_vec(&block, &mut compressed, FlushCompress::Sync).unwrap();
            compressed
        };
        blocks.iter().map(one).collect()
    }

    fn frame(word: u32, flags: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_be_bytes();
        [&word.to_be_bytes(), &[flags][..], &length[1..], body].concat()
    }

    fn open(stream: u32, headers: &[u8]) -> Vec<u8> {
        frame(SYN_STREAM, 0, &[&stream.to_be_bytes(), &[0; 6][..], headers].concat())
    }

    async fn read(bytes: &[u8]) -> io::Result<Vec<Frame>> {
        let mut reader = Reader::new(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = reader.next().await? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn the_dictionary_is_that_of_the_specification() {
        let adler = DICTIONARY.iter().fold((1_u32, 0_u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (b + a) % 65521)
        });
        assert_eq!((DICTIONARY.len(), adler.1 << 16 | adler.0), (1423, 0xe3c6_a7c2));
    }

    #[tokio::test]
    async fn frames_are_read() {
        let long = "x".repeat(5000);
        let headers = [[("streamtype", "error"), ("port", "80")], [("streamtype", "data"), ("long", &*long)]];
        let blocks = compress(&[&headers[0], &headers[1]]);
        let data = vec![7; PIECE + 1];
        let bytes = [
            open(1, &blocks[0]),
            frame(CONTROL | 4, 0, &[0; 4]),
            open(3, &blocks[1]),
            frame(3, FIN, &data),
            frame(PING, 0, &5_u32.to_be_bytes()),
            frame(RST_STREAM, 0, &[1_u32.to_be_bytes(), 5_u32.to_be_bytes()].concat()),
            frame(GO_AWAY, 0, &[0; 8]),
        ];
        let frames = read(&bytes.concat()).await.unwrap();
        let named = |headers: &[(&str, &str)]| {
            Headers(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let piece = |bytes: &[u8], is_last| Frame::Data { stream: 3, bytes: bytes.to_vec().into(), is_last };
        assert_eq!(
            frames,
            [
                Frame::Open { stream: 1, headers: named(&headers[0]) },
                Frame::Open { stream: 3, headers: named(&headers[1]) },
                piece(&data[..PIECE], false),
                piece(&data[..1], true),
                Frame::Ping { id: 5 },
                Frame::Reset { stream: 1 },
            ]
        );
    }

    #[tokio::test]
    async fn what_is_not_spdy_is_an_error() {
        let bomb = "x".repeat(2 * MAX_CONTROL);
        let bomb = compress(&[&[("bomb", &bomb)]]);
        for bytes in [
            open(1, &bomb[0]),
            open(1, b"not compressed"),
            open(1, &[]),
            frame(SYN_STREAM, 0, &[0; 3]),
            frame(PING, 0, &[]),
            frame(1, 0, &[1, 2, 3])[..9].to_vec(),
            [&SYN_STREAM.to_be_bytes(), &[0, 0xff, 0xff, 0xff][..]].concat(),
        ] {
            assert!(read(&bytes).await.is_err(), "{bytes:?}");
        }
        assert_eq!(read(b"GET").await.unwrap(), [], "less than a frame is the end");
    }
}
