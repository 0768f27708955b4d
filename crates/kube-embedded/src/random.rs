//! The one place where the server takes random numbers: for uids, generated names and tokens.

use std::sync::{Arc, Mutex, PoisonError};

use uuid::{Builder, Uuid};

/// Random numbers of the system, or of a seed. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) enum Random {
    #[default]
    System,
    Seeded(Arc<Mutex<fastrand::Rng>>),
}

impl Random {
    /// The numbers of a seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// A UUID of version 4: 122 random bits.
    pub(crate) fn uuid(&self) -> Uuid {
        match self {
            Self::System => Uuid::new_v4(),
            Self::Seeded(numbers) => {
                let bits = numbers.lock().unwrap_or_else(PoisonError::into_inner).u128(..);
                Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
            }
        }
    }

    /// A name for `metadata.generateName`: the base and five random characters, within the length limit of names.
    pub(crate) fn name(&self, base: &str) -> String {
        // As in apimachinery: no vowels, so that no words come out.
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        const LENGTH: usize = 5;
        const MAX: usize = 63 - LENGTH;
        let base = base.char_indices().nth(MAX).map_or(base, |(end, _)| &base[..end]);
        let random = self.uuid();
        let letters = random
            .as_bytes()
            .iter()
            .take(LENGTH)
            .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
        base.chars().chain(letters).collect()
    }
}
