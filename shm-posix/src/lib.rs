//! Latest-value channels in POSIX shared memory.
