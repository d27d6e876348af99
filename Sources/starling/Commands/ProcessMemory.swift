// What a process takes, measured from inside; for simulations, which are measured by the node.

import Foundation

enum ProcessMemory {
    /// Bytes that the process holds now.
    static func resident() -> Int {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8),
            let pages = text.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
        else { return 0 }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// The same after the allocator has given back what nobody uses.
    static func residentTrimmed() -> Int {
        typealias Trim = @convention(c) (Int) -> Int32
        if let symbol = dlsym(nil, "malloc_trim") { _ = unsafeBitCast(symbol, to: Trim.self)(0) }
        return resident()
    }

    /// Thousands of peers are gigabytes of small objects, and every event finds its peer far from the last one's: pages of
    /// 2 MiB spare it most look-ups of addresses. glibc asks for them only if a variable says so when the program starts,
    /// and only in its main arena (a second thread's is made of pieces too small), so it starts once more in the same
    /// process; where that fails, everything goes on as it is.
    static func restartWithLargePages() {
        let tunables = "GLIBC_TUNABLES"
        guard getenv(tunables) == nil else { return }
        setenv(tunables, "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1", 1)
        let arguments = CommandLine.arguments.map { strdup($0) } + [nil]
        execv("/proc/self/exe", arguments)
        for argument in arguments { free(argument) }
    }
}
