// A node that idles should weigh what an idle node uses. Reading the configuration, building JSON coders and opening the
// database touch 30 MB of code that is hardly needed again; the kernel keeps counting it to us (RSS 46 MB) until memory
// is short. It is shared, clean and in the page cache, so giving it back costs nothing, and having it again a fault
// without I/O.

import Foundation

enum StartPages {
    /// When the start is over and the mesh is joined.
    static let wait = Duration.seconds(5)

    /// Forgets the pages of all program code that is mapped unchanged. Code comes back, 64 kB at a time, when it runs.
    static func giveBack() {
        var range: (start: UInt, end: UInt)?
        for line in mappings().split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count >= 2 else { continue }
            if let dash = words[0].firstIndex(of: "-"), !words[0].hasSuffix(":") {
                let start = UInt(words[0][..<dash], radix: 16)
                let end = UInt(words[0][words[0].index(after: dash)...], radix: 16)
                let isCode = words[1] == "r-xp" && words.last?.hasPrefix("/") == true
                range = isCode ? start.flatMap { start in end.map { (start, $0) } } : nil
            } else if words[0] == "Private_Dirty:", let found = range {
                // What somebody wrote into (a debugger's breakpoints, say) would be lost.
                if words[1] == "0" {
                    madvise(
                        UnsafeMutableRawPointer(bitPattern: found.start), Int(found.end - found.start),
                        Int32(MADV_DONTNEED))
                }
                range = nil
            }
        }
    }

    /// `/proc/self/smaps`, read to its end: its reads come short, which Foundation takes for the end.
    private static func mappings() -> String {
        let file = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(file, &buffer, buffer.count)
            guard count > 0 else { return String(decoding: text, as: UTF8.self) }
            text += buffer.prefix(count)
        }
    }
}
