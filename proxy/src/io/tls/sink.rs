//! Where sealed records are put: initialised bytes that are written over, so that no step begins with zeroing.

/// A growing run of bytes.
#[derive(Default)]
pub(super) struct Sink {
    bytes: Vec<u8>,
    length: usize,
}

impl Sink {
    /// What was put in.
    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Forgets what was put in; the room stays.
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// Room for so many more bytes. What is written there counts once [`Sink::advance`] says so.
    pub(super) fn room(&mut self, count: usize) -> &mut [u8] {
        let wanted = self.length + count;
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        self.bytes.get_mut(self.length..).unwrap_or_default()
    }

    /// So many bytes of the room were written.
    pub(super) fn advance(&mut self, count: usize) {
        self.length = (self.length + count).min(self.bytes.len());
    }

    /// Puts bytes in.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len()).get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.advance(bytes.len());
    }

    /// Frees the room if it is larger than `bytes_max`.
    pub(super) fn trim(&mut self, bytes_max: usize) {
        if self.bytes.len() > bytes_max {
            *self = Sink::default();
        }
    }
}
