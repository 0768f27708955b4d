//! The numbers of expressions, and where the expressions are.

use super::ast::{Expr, Id, Kind, Literal};

/// The number of an expression that has none, because a syntax error hides what it would stand at.
const NONE: Id = 0;

/// How many expressions there may be. Text within its limit stays far below; but `optMap` copies its operand,
/// so that each one in a chain doubles what is before it. cel-go has no such limit and runs out of memory.
const IDS_MAX: usize = 1 << 18;

/// A place in the source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Unknown,
    /// Where cel-go has an offset of -1: before the first character.
    Before,
    /// An offset in characters.
    At(u32),
}

impl Place {
    /// Where something is that takes its place from another.
    const fn derived(self) -> Self {
        match self {
            Self::At(_) => self,
            Self::Unknown | Self::Before => Self::Before,
        }
    }
}

/// Gives numbers in the order in which cel-go's parser does.
pub(super) struct Ids {
    places: Vec<Place>,
    /// How many expressions of blocks are nested in each other at most.
    in_blocks: usize,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self { places: vec![Place::Unknown], in_blocks: 0 }
    }

    /// Counts expressions of a block, and returns how many there are in all blocks.
    pub(super) fn count_block(&mut self, expressions: usize) -> usize {
        self.in_blocks += expressions;
        self.in_blocks
    }

    pub(super) fn next(&mut self, place: Place) -> Id {
        self.places.push(place);
        Id::try_from(self.places.len() - 1).unwrap_or(NONE)
    }

    /// The number of what stands at a token that may be missing.
    pub(super) fn at_token(&mut self, offset: Option<u32>) -> Id {
        offset.map_or(NONE, |offset| self.next(Place::At(offset)))
    }

    /// The number of something that takes its place from an expression.
    pub(super) fn like(&mut self, id: Id) -> Id {
        let place = self.place(id).derived();
        self.next(place)
    }

    /// Takes a number back. Only the last one is given again.
    pub(super) fn delete(&mut self, id: Id) {
        let index = usize::try_from(id).unwrap_or(usize::MAX);
        if id == NONE {
        } else if index + 1 == self.places.len() {
            self.places.pop();
        } else if let Some(place) = self.places.get_mut(index) {
            *place = Place::Unknown;
        }
    }

    pub(super) fn place(&self, id: Id) -> Place {
        let place = usize::try_from(id).ok().and_then(|id| self.places.get(id));
        place.copied().unwrap_or(Place::Unknown)
    }

    pub(super) fn are_too_many(&self) -> bool {
        self.places.len() > IDS_MAX
    }

    /// The offsets of all expressions, by their numbers.
    pub(super) fn into_offsets(self) -> Vec<u32> {
        let offset = |place| match place {
            Place::At(offset) => offset,
            Place::Unknown | Place::Before => 0,
        };
        self.places.into_iter().map(offset).collect()
    }
}

/// Stands for an expression that a syntax error hides.
pub(super) const fn hidden(id: Id) -> Expr {
    Expr { id, kind: Kind::Literal(Literal::Null) }
}
