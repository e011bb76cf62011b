//! The door to Kotlin, Swift and Python.
