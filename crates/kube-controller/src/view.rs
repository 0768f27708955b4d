//! What can be seen of an operator from outside.
