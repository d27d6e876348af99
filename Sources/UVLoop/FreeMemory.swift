import CLibuv

/// Memory that the process has freed.
public enum FreeMemory {
    /// Gives it back to the system. glibc keeps what small objects took for the thread that made them: a document's tree
    /// of a million values would count as the process's for ever. Takes some milliseconds.
    public static func release() { _ = cuv_malloc_trim(0) }
}
