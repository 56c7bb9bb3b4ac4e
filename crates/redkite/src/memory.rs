//! How the process holds memory.
//!
//! Requests bring rows in blocks of megabytes. glibc maps large blocks and gives them back when they are freed, but
//! raises the size from which it does so, up to 32 MB, once such blocks have come and gone; from then on they lie in its
//! arenas and stay there after the load is over, taking memory from the page cache that the data is served from.
//! Holding that size fixed costs page faults, about a microsecond an inserted row, and returns everything.

/// Blocks from this size on are mapped, and given back to the machine when they are freed.
const MAPPED_BYTES_MIN: i32 = 256 * 1024;

/// Sets it for the whole process; to be called before anything large is allocated.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn give_large_blocks_back() {
    // SAFETY: mallopt takes two numbers and changes a parameter of the allocator under the allocator's own lock.
    let set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN) };
    if set == 0 {
        tracing::debug!("the allocator does not take a threshold for mapping; freed memory may be kept");
    }
}

/// Other allocators look after this themselves.
#[cfg(not(target_env = "gnu"))]
pub fn give_large_blocks_back() {}
