//! Copies and verifications between real servers, files and loop devices.

mod faults;
mod lines;
mod pairs;
mod resume;
mod targets;
