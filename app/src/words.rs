//! All words for people: refusals with what to do (a phone's, a desk's), checks, and what is shown beside them.

pub mod checks;
pub mod desk;
mod folders;
pub mod packs;
pub mod phone;
pub mod shown;
