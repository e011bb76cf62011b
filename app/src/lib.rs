//! What a person sees: the kijiti command.
