//! Copies and verifications between real servers, files and loop devices.

mod faults;
mod pairs;
mod resume;
