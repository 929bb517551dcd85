//! Just enough of an HTTP/1.1 client's side: where a response ends, and its status. Lenient on purpose, since the lab
//! measures proxies and does not judge their grammar; but a response whose end is unclear is an error.

use memchr::memmem;

/// Longest response head that the generator takes, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// Why a response cannot be followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResponseError {
    /// The start line or a length is not HTTP/1.
    #[error("malformed response")]
    Malformed,
    /// Neither a length nor chunks.
    #[error("a response without Content-Length or chunks")]
    NoLength,
    /// Bytes after the response's end.
    #[error("bytes after the end of a response")]
    Trailing,
}

/// A complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete {
    /// HTTP status.
    pub status: u16,
    /// The peer closes the connection after it.
    pub close: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Body { left: u64 },
    ChunkSize,
    ChunkData { left: u64 },
    Trailers,
}

/// Follows one response after the other on a connection.
#[derive(Debug)]
pub struct Response {
    state: State,
    partial: Vec<u8>,
    status: u16,
    close: bool,
}

impl Default for Response {
    fn default() -> Response {
        Response { state: State::Head, partial: Vec::new(), status: 0, close: false }
    }
}

impl Response {
    /// Bytes of a body of known length that are still to come: they may be thrown away unread, see [`Self::skip`].
    pub fn body_left(&self) -> u64 {
        match self.state {
            State::Body { left } => left,
            _ => 0,
        }
    }

    /// Counts body bytes that were thrown away by the kernel; at most [`Self::body_left`].
    pub fn skip(&mut self, bytes: u64) -> Option<Complete> {
        let State::Body { left } = &mut self.state else { return None };
        *left -= bytes.min(*left);
        (*left == 0).then(|| self.finish())
    }

    /// Takes the next bytes of the connection; the response, once its last byte is among them.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<Complete>, ResponseError> {
        loop {
            let (used, complete) = match self.state {
                State::Head => self.head(bytes)?,
                State::Body { left } => {
                    let used = left.min(bytes.len() as u64);
                    (used as usize, self.skip(used))
                }
                State::ChunkData { left } => {
                    let used = left.min(bytes.len() as u64);
                    self.state = match left - used {
                        0 => State::ChunkSize,
                        left => State::ChunkData { left },
                    };
                    (used as usize, None)
                }
                State::ChunkSize => (self.chunk_size(bytes)?, None),
                State::Trailers => self.trailer(bytes),
            };
            bytes = bytes.get(used..).unwrap_or_default();
            match complete {
                Some(_) if !bytes.is_empty() => return Err(ResponseError::Trailing),
                Some(complete) => return Ok(Some(complete)),
                None if bytes.is_empty() => return Ok(None),
                None => {}
            }
        }
    }

    fn finish(&mut self) -> Complete {
        self.state = State::Head;
        Complete { status: self.status, close: self.close }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<(usize, Option<Complete>), ResponseError> {
        if self.partial.is_empty() {
            // The common case: the whole head is in one read and is not copied.
            if let Some(end) = memmem::find(bytes, b"\r\n\r\n") {
                let complete = self.parse(bytes.get(..end + 2).unwrap_or_default())?;
                return Ok((end + 4, complete));
            }
        }
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > HEAD_MAX {
            return Err(ResponseError::Malformed);
        }
        let Some(end) = memmem::find(&self.partial, b"\r\n\r\n") else { return Ok((bytes.len(), None)) };
        let head = std::mem::take(&mut self.partial);
        let complete = self.parse(head.get(..end + 2).unwrap_or_default())?;
        Ok((end + 4 - before, complete))
    }

    /// Reads a head whose every line ends with CRLF.
    fn parse(&mut self, head: &[u8]) -> Result<Option<Complete>, ResponseError> {
        let digits = head.get(9..12).filter(|_| head.starts_with(b"HTTP/1."));
        let digits = digits.ok_or(ResponseError::Malformed)?;
        self.status = number(digits, 10).ok_or(ResponseError::Malformed)? as u16;
        self.close = false;
        let (mut length, mut chunked) = (None, false);
        let mut rest = head;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            if let Some(value) = field(line, b"content-length:") {
                length = Some(number(value, 10).ok_or(ResponseError::Malformed)?);
            } else if let Some(value) = field(line, b"transfer-encoding:") {
                chunked = value.eq_ignore_ascii_case(b"chunked");
            } else if let Some(value) = field(line, b"connection:") {
                self.close = value.eq_ignore_ascii_case(b"close");
            }
        }
        if self.status < 200 {
            self.state = State::Head;
            return Ok(None);
        }
        if matches!(self.status, 204 | 304) {
            return Ok(Some(self.finish()));
        }
        self.state = match (chunked, length) {
            (true, _) => State::ChunkSize,
            (false, Some(0)) => return Ok(Some(self.finish())),
            (false, Some(left)) => State::Body { left },
            (false, None) => return Err(ResponseError::NoLength),
        };
        Ok(None)
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Result<usize, ResponseError> {
        let Some((line, used)) = self.line(bytes) else { return Ok(bytes.len()) };
        let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
        let size = number(digits.trim_ascii(), 16).ok_or(ResponseError::Malformed)?;
        // The CRLF after the data is counted with it.
        self.state = if size == 0 { State::Trailers } else { State::ChunkData { left: size + 2 } };
        Ok(used)
    }

    fn trailer(&mut self, bytes: &[u8]) -> (usize, Option<Complete>) {
        match self.line(bytes) {
            None => (bytes.len(), None),
            Some((line, used)) if line.is_empty() => (used, Some(self.finish())),
            Some((_, used)) => (used, None),
        }
    }

    /// The next line without its end, and how many of `bytes` it took; a part of a line is kept.
    fn line(&mut self, bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.partial.extend_from_slice(bytes);
            return None;
        };
        let mut line = std::mem::take(&mut self.partial);
        line.extend_from_slice(bytes.get(..end).unwrap_or_default());
        line.truncate(line.trim_ascii_end().len());
        Some((line, end + 1))
    }
}

/// The trimmed value of a line of this field (name in lower case, with its colon).
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let found = line.get(..name.len())?;
    found.eq_ignore_ascii_case(name).then(|| line.get(name.len()..).unwrap_or_default().trim_ascii())
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        Some(value * u64::from(radix) + u64::from(char::from(digit).to_digit(radix)?))
    })
}
