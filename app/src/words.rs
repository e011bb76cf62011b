//! The words of the desk: what its refusals and checks are to whoever reads them.

pub mod checks;
pub mod desk;
pub mod phone;
pub mod shown;
