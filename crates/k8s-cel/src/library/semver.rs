//! Semantic versions: Kubernetes' `library.SemverLib`.

use super::row::Row;

/// Version 0.
pub(super) const V0: &[Row] = &[
    ("compareTo", "semver_compare_to", "kubernetes.Semver.(kubernetes.Semver) -> int"),
    ("isGreaterThan", "semver_is_greater_than", "kubernetes.Semver.(kubernetes.Semver) -> bool"),
    ("isLessThan", "semver_is_less_than", "kubernetes.Semver.(kubernetes.Semver) -> bool"),
    ("isSemver", "is_semver_string", "(string) -> bool"),
    ("major", "semver_major", "kubernetes.Semver.() -> int"),
    ("minor", "semver_minor", "kubernetes.Semver.() -> int"),
    ("patch", "semver_patch", "kubernetes.Semver.() -> int"),
    ("semver", "string_to_semver", "(string) -> kubernetes.Semver"),
];

/// What version 1 adds.
pub(super) const V1: &[Row] = &[
    ("isSemver", "is_semver_string_bool", "(string, bool) -> bool"),
    ("semver", "string_bool_to_semver", "(string, bool) -> kubernetes.Semver"),
];
