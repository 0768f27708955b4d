//! What the parser accepts beside the standard language.

/// A macro or syntax that an environment can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Extension {
    /// `optMap`, `optFlatMap`, and the syntax `a.?b`, `a[?b]`, `[?a]` and `{?a: b}`.
    OptionalTypes,
    /// `all`, `exists` and `existsOne` with two variables, `transformList`, `transformMap` and
    /// `transformMapEntry`.
    TwoVariables,
    /// `sortBy`.
    SortBy,
    /// `cel.bind`, which Kubernetes does not have.
    Bind,
    /// `math.least` and `math.greatest`, which Kubernetes does not have.
    Math,
    /// `cel.block`, `cel.index` and `cel.iterVar`, which cel-spec's cases use.
    Block,
    /// No macros at all.
    NoMacros,
}

/// The extensions that are on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options(u8);

impl Options {
    /// The standard language.
    pub(crate) const STANDARD: Self = Self(0);

    pub(crate) const fn with(self, extension: Extension) -> Self {
        Self(self.0 | 1 << extension as u8)
    }

    pub(super) const fn has(self, extension: Extension) -> bool {
        self.0 & 1 << extension as u8 != 0
    }
}
