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
}
