//! Many phones in a simulated district, running the very agent that runs on a phone, and what must
//! hold for them.
//!
//! What it is not: no wall clock, no threads, no real links. Time is an agenda, radios are byte
//! queues that can be cut, stores are in memory. The same seed gives the same trace, byte for byte.

pub mod attacks;
pub mod insider;
pub mod ministry;
pub mod moving;
pub mod room;
pub mod screen;
pub mod village;
pub mod world;

pub use ministry::Ministry;
pub use moving::{Leg, Moved};
pub use room::{Room, RoomReport};
pub use village::{Coverage, Village, VillageReport};
pub use world::{Cut, Meeting, World};
