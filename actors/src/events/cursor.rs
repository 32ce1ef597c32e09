//! How far somebody has come, in every shard of the change log.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darkroom_store::model::Position;
use darkroom_store::model::changes::SHARDS;

/// Bytes of one position.
const POSITION_BYTES: usize = 20;
/// Shards, as an index.
pub(super) const COUNT: usize = SHARDS as usize;

/// The position up to which somebody knows each shard. As text, what an event has for its id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor(pub(super) [Position; COUNT]);

impl Cursor {
    pub(super) fn position(&self, shard: u8) -> Position {
        self.0[usize::from(shard)]
    }

    /// The shard is known so far. Never less far than before.
    pub(super) fn advance(&mut self, shard: u8, position: Position) {
        let known = &mut self.0[usize::from(shard)];
        *known = position.max(*known);
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = self.0.iter().flat_map(|position| position.to_value()).collect();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// What is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an event of this daemon")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        // Longer text is not decoded.
        if text.len() > POSITION_BYTES * COUNT * 2 {
            return Err(NotACursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotACursor)?;
        if bytes.len() != POSITION_BYTES * COUNT {
            return Err(NotACursor);
        }
        let mut positions = [Position::START; COUNT];
        for (position, bytes) in positions.iter_mut().zip(bytes.chunks_exact(POSITION_BYTES)) {
            let bytes: [u8; POSITION_BYTES] = bytes.try_into().map_err(|_| NotACursor)?;
            *position = Position::from(bytes);
        }
        Ok(Self(positions))
    }
}
