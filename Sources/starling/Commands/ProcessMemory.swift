// The memory of this process, measured from inside: simulations report it per node.

import FoundationEssentials
import Glibc

enum ProcessMemory {
    /// Bytes of resident memory.
    static func resident() -> Int {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8),
            let pages = text.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
        else { return 0 }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// The same after the allocator has returned unused memory to the system.
    static func residentTrimmed() -> Int {
        typealias Trim = @convention(c) (Int) -> Int32
        if let symbol = dlsym(nil, "malloc_trim") { _ = unsafeBitCast(symbol, to: Trim.self)(0) }
        return resident()
    }

    /// Blocks of 256 KiB or more are mapped by themselves, and go back to the system when they are freed. Otherwise glibc
    /// raises that bound to the largest block that it ever got back, and keeps the holes that growing tables leave.
    static func returnLargeBlocks() {
        typealias Option = @convention(c) (Int32, Int32) -> Int32
        guard let symbol = dlsym(nil, "mallopt") else { return }
        let option = unsafeBitCast(symbol, to: Option.self)
        // M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        _ = option(-3, 256 << 10)
        _ = option(-1, 1 << 20)
    }

    /// Restarts the program with large pages. Thousands of peers are gigabytes of small objects, and every
    /// event finds its peer far from the last one's: pages of 2 MiB avoid most TLB misses. glibc uses them
    /// only if a variable says so at program start, and only in its main arena (other threads' arenas are too
    /// small), so the program execs itself in the same process. If that fails, it goes on without.
    static func restartWithLargePages() {
        let tunables = "GLIBC_TUNABLES"
        guard getenv(tunables) == nil else { return }
        setenv(tunables, "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1", 1)
        let arguments = CommandLine.arguments.map { strdup($0) } + [nil]
        execv("/proc/self/exe", arguments)
        for argument in arguments { free(argument) }
    }
}
