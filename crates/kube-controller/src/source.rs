//! What makes keys run: changes of caches, mapped to keys.
