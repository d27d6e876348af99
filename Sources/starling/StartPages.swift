import Glibc

/// The code that only the start of a node needs: libcurl, for one, makes OpenSSL list every algorithm that it knows.
enum StartPages {
    /// Unmaps all code from memory. What runs again is mapped again from the page cache, some 16 pages at a time.
    static func release() {
        guard let maps = fopen("/proc/self/maps", "re") else { return }
        defer { fclose(maps) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, maps) > 0, let line {
            // START-END PERMISSIONS …: code is never written to, so the file has all of it.
            let words = String(cString: line).split(separator: " ", maxSplits: 5)
            let ends = words[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
            guard words.count == 6, words[1] == "r-xp", words[5].contains("/"), ends.count == 2 else {
                continue
            }
            madvise(UnsafeMutableRawPointer(bitPattern: ends[0]), Int(ends[1] - ends[0]), MADV_DONTNEED)
        }
    }
}
