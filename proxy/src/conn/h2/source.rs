//! A request's body on its way up: taken as fast as it goes on, kept for another try as far as that is allowed.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use dromon_core::limits::{DRAIN_BYTES_MAX, REPLAY_BYTES_MAX};
use h2::RecvStream;
use http::HeaderMap;

/// A body as it comes.
pub(super) struct Source {
    recv: RecvStream,
    /// What has come of it, for another try, until it is too much.
    kept: Vec<Bytes>,
    kept_bytes: usize,
    overflowed: bool,
    /// Bytes taken whose window the client has not been given back.
    held_bytes: usize,
    /// The whole body has come.
    ended: bool,
    trailers: Option<HeaderMap>,
    /// Bytes that have come.
    pub(super) bytes: u64,
}

/// A part of a body.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes, at least one.
    Data(Bytes),
    /// The end, with trailers where there are some.
    End(Option<HeaderMap>),
}

/// How far a try has come with a body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    replayed: usize,
}

impl Source {
    pub(super) fn new(recv: RecvStream) -> Source {
        let ended = recv.is_end_stream();
        Source {
            recv,
            kept: Vec::new(),
            kept_bytes: 0,
            overflowed: false,
            held_bytes: 0,
            ended,
            trailers: None,
            bytes: 0,
        }
    }

    /// The whole body has come, and gone on as far as a try wanted it.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Nothing follows what a try was given last.
    pub(super) fn is_at_end(&mut self, progress: &Progress) -> bool {
        self.ended |= self.recv.is_end_stream();
        self.ended && progress.replayed >= self.kept.len() && self.trailers.is_none()
    }

    /// All that has come of it is here, so it can be sent again.
    pub(super) fn is_replayable(&self) -> bool {
        !self.overflowed
    }

    /// The next part for a try.
    ///
    /// # Errors
    /// The client has broken off, or its body breaks a rule.
    pub(super) fn poll(
        &mut self,
        progress: &mut Progress,
        context: &mut Context<'_>,
    ) -> Poll<Result<Piece, h2::Error>> {
        loop {
            if let Some(bytes) = self.kept.get(progress.replayed) {
                progress.replayed += 1;
                return Poll::Ready(Ok(Piece::Data(bytes.clone())));
            }
            if self.ended {
                return Poll::Ready(Ok(Piece::End(self.trailers.clone())));
            }
            match self.recv.poll_data(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(bytes))) if bytes.is_empty() => {}
                Poll::Ready(Some(Ok(bytes))) => {
                    self.held_bytes += bytes.len();
                    self.bytes += bytes.len() as u64;
                    self.keep(&bytes);
                    progress.replayed = self.kept.len();
                    return Poll::Ready(Ok(Piece::Data(bytes)));
                }
                Poll::Ready(None) => match self.recv.poll_trailers(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(trailers)) => {
                        self.ended = true;
                        self.trailers = trailers;
                    }
                },
            }
        }
    }

    /// What was taken has been sent on: the client may send as much again.
    pub(super) fn sent_on(&mut self) {
        let bytes = std::mem::take(&mut self.held_bytes);
        if bytes > 0 {
            // Refused only where the stream is over.
            let _ = self.recv.flow_control().release_capacity(bytes);
        }
    }

    /// Takes what is left of a body that nobody wants any more, if that is little. A stream that ends with a part of its
    /// request unread is reset, which RFC 9113, 8.1 allows after the answer and some clients take for a failure.
    pub(super) async fn drain(&mut self) {
        self.overflowed = true;
        self.kept = Vec::new();
        let mut progress = Progress::default();
        let mut drained_bytes = 0;
        while drained_bytes <= DRAIN_BYTES_MAX
            && let Ok(Piece::Data(bytes)) = poll_fn(|context| self.poll(&mut progress, context)).await
        {
            drained_bytes += bytes.len();
            self.sent_on();
        }
    }

    fn keep(&mut self, bytes: &Bytes) {
        if self.overflowed || self.kept_bytes + bytes.len() > REPLAY_BYTES_MAX {
            self.overflowed = true;
            self.kept = Vec::new();
        } else {
            self.kept_bytes += bytes.len();
            self.kept.push(bytes.clone());
        }
    }
}
