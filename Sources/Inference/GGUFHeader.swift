import Glibc

/// What the metadata at the front of a GGUF file says
/// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). A missing entry is nil.
struct GGUFHeader: Sendable, Hashable {
    /// Lower case: `q8_0`, `q4_k_m`; `type-N` for an unknown one.
    var quantization: String?

    /// Why a header can't be read.
    enum ReadError: Error, Hashable, Sendable {
        case unreadable(errno: Int32)
        case notGGUF
        /// Truncated, or a length points outside the file.
        case malformed
    }

    /// Limits for metadata entries, and for the elements of one list of strings. A vocabulary has some
    /// 150,000.
    static let entriesMax: UInt64 = 1 << 16
    static let stringsMax: UInt64 = 1 << 24

    /// Reads the header only, never the tensors. Every length is checked against the file.
    init(path: String) throws(ReadError) {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .unreadable(errno: errno) }
        defer { close(file) }
        var info = stat()
        guard fstat(file, &info) == 0 else { throw .unreadable(errno: errno) }
        guard info.st_mode & S_IFMT == S_IFREG, info.st_size > 0 else { throw .notGGUF }
        let size = Int(info.st_size)
        guard let memory = mmap(nil, size, PROT_READ, MAP_PRIVATE, file, 0), memory != MAP_FAILED else {
            throw .unreadable(errno: errno)
        }
        defer { munmap(memory, size) }
        try self.init(parsing: UnsafeRawBufferPointer(start: memory, count: size))
    }

    init(parsing bytes: UnsafeRawBufferPointer) throws(ReadError) {
        var reader = Reader(bytes: bytes)
        guard try reader.integer(UInt32.self) == 0x4655_4747 else { throw .notGGUF }
        let version = try reader.integer(UInt32.self)
        guard version == 2 || version == 3 else { throw .notGGUF }
        _ = try reader.integer(UInt64.self)
        let entries = try reader.integer(UInt64.self)
        guard entries <= Self.entriesMax else { throw .malformed }
        for _ in 0..<entries {
            let key = try reader.string()
            let type = try reader.integer(UInt32.self)
            if key == "general.file_type", type == 4 {
                quantization = Self.fileType(try reader.integer(UInt32.self))
            } else {
                try reader.skip(type)
            }
        }
    }

    /// llama.cpp's `llama_ftype`.
    private static func fileType(_ number: UInt32) -> String {
        let names: [UInt32: String] = [
            0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k",
            11: "q3_k_s",
            12: "q3_k_m", 13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s", 17: "q5_k_m", 18: "q6_k",
            19: "iq2_xxs", 20: "iq2_xs", 21: "q2_k_s", 22: "iq3_xs", 23: "iq3_xxs", 24: "iq1_s", 25: "iq4_nl",
            26: "iq3_s", 27: "iq3_m", 28: "iq2_s", 29: "iq2_m", 30: "iq4_xs", 31: "iq1_m", 32: "bf16",
            36: "tq1_0",
            37: "tq2_0", 38: "mxfp4",
        ]
        return names[number] ?? "type-\(number)"
    }

    private struct Reader {
        static let string: UInt32 = 8
        static let array: UInt32 = 9
        let bytes: UnsafeRawBufferPointer
        var index = 0

        mutating func integer<T: FixedWidthInteger>(_: T.Type) throws(ReadError) -> T {
            let size = T.bitWidth / 8
            guard bytes.count - index >= size else { throw .malformed }
            defer { index += size }
            return T(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: T.self))
        }

        mutating func advance(_ count: UInt64) throws(ReadError) {
            guard count <= UInt64(bytes.count - index) else { throw .malformed }
            index += Int(count)
        }

        mutating func string() throws(ReadError) -> String {
            let start = index + 8
            let count = try integer(UInt64.self)
            try advance(count)
            return String(decoding: bytes[start..<index].prefix(1_024), as: UTF8.self)
        }

        mutating func skip(_ type: UInt32) throws(ReadError) {
            switch type {
            case Self.string: try advance(try integer(UInt64.self))
            case Self.array:
                let element = try integer(UInt32.self)
                let count = try integer(UInt64.self)
                if element == Self.string {
                    guard count <= GGUFHeader.stringsMax else { throw .malformed }
                    for _ in 0..<count { try advance(try integer(UInt64.self)) }
                } else {
                    let (size, overflow) = count.multipliedReportingOverflow(by: try Self.size(element))
                    guard !overflow else { throw .malformed }
                    try advance(size)
                }
            default: try advance(try Self.size(type))
            }
        }

        /// Bytes of a scalar. Lists of lists are in the specification but in no known file: refused.
        private static func size(_ type: UInt32) throws(ReadError) -> UInt64 {
            switch type {
            case 0, 1, 7: 1
            case 2, 3: 2
            case 4, 5, 6: 4
            case 10, 11, 12: 8
            default: throw .malformed
            }
        }
    }
}
