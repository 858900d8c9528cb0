//! The cloud behind one trait: what a provider must do, and the errors a caller decides by.
