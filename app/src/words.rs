//! The words of the desk: what its refusals and checks are to whoever reads them.

pub mod desk;
pub mod phone;
