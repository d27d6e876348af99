/// 32 bytes as four 64-bit words in big-endian order: the shape of every key, id and hash in the protocol.
///
/// Words rather than a byte array, so that comparing, hashing and XOR cost four instructions and no allocation.
public struct Bytes32: Hashable, Comparable, Sendable {
    public var w0: UInt64
    public var w1: UInt64
    public var w2: UInt64
    public var w3: UInt64

    @inlinable
    public init(_ w0: UInt64, _ w1: UInt64, _ w2: UInt64, _ w3: UInt64) {
        self.w0 = w0
        self.w1 = w1
        self.w2 = w2
        self.w3 = w3
    }

    public static let zero = Bytes32(0, 0, 0, 0)

    /// Reads exactly 32 bytes; nil for any other length.
    @inlinable
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == 32 else { return nil }
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        var index = 0
        for byte in bytes {
            switch index >> 3 {
            case 0: words.0 = words.0 << 8 | UInt64(byte)
            case 1: words.1 = words.1 << 8 | UInt64(byte)
            case 2: words.2 = words.2 << 8 | UInt64(byte)
            default: words.3 = words.3 << 8 | UInt64(byte)
            }
            index += 1
        }
        self.init(words.0, words.1, words.2, words.3)
    }

    /// The 32 bytes, most significant first.
    public var bytes: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            store(into: UnsafeMutableRawBufferPointer(buffer))
            count = 32
        }
    }

    /// Writes the 32 bytes to the start of `buffer`, which must hold at least as many.
    public func store(into buffer: UnsafeMutableRawBufferPointer) {
        precondition(buffer.count >= 32, "Bytes32.store needs 32 bytes, has \(buffer.count)")
        buffer.storeBytes(of: w0.bigEndian, toByteOffset: 0, as: UInt64.self)
        buffer.storeBytes(of: w1.bigEndian, toByteOffset: 8, as: UInt64.self)
        buffer.storeBytes(of: w2.bigEndian, toByteOffset: 16, as: UInt64.self)
        buffer.storeBytes(of: w3.bigEndian, toByteOffset: 24, as: UInt64.self)
    }

    public static func < (a: Bytes32, b: Bytes32) -> Bool {
        if a.w0 != b.w0 { return a.w0 < b.w0 }
        if a.w1 != b.w1 { return a.w1 < b.w1 }
        if a.w2 != b.w2 { return a.w2 < b.w2 }
        return a.w3 < b.w3
    }

    public static func ^ (a: Bytes32, b: Bytes32) -> Bytes32 {
        Bytes32(a.w0 ^ b.w0, a.w1 ^ b.w1, a.w2 ^ b.w2, a.w3 ^ b.w3)
    }

    /// The number of zero bits before the first one bit, 0...256.
    public var leadingZeroBitCount: Int {
        if w0 != 0 { return w0.leadingZeroBitCount }
        if w1 != 0 { return 64 + w1.leadingZeroBitCount }
        if w2 != 0 { return 128 + w2.leadingZeroBitCount }
        return 192 + w3.leadingZeroBitCount
    }
}

/// A point in the DHT's XOR space: BLAKE2b-256 of a domain tag and a node's public key. Recomputed on receipt,
/// never believed (`Cryptography.NodeID.init(of:)`).
public struct NodeID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var value: Bytes32
    public init(_ value: Bytes32) { self.value = value }
    public static func < (a: NodeID, b: NodeID) -> Bool { a.value < b.value }
    /// 52 characters of lower-case Crockford base 32.
    public var description: String { Base32.encode(value.bytes) }
    /// The characters of a short id: what people see, and the fewest that find a node. 60 bits: nobody makes a
    /// key whose id begins like another's.
    public static let shortCount = 12
    public var short: String { String(description.prefix(Self.shortCount)) }
}

/// An Ed25519 public key: a node's name.
public struct PublicKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var value: Bytes32
    public init(_ value: Bytes32) { self.value = value }
    /// Parses `description`; nil for any other text.
    public init?(_ text: some StringProtocol) {
        guard let bytes = Base32.decode(text), let value = Bytes32(bytes) else { return nil }
        self.init(value)
    }
    /// Its first 64 bits: a name among a few hundred keys that nobody has ground.
    public var word: UInt64 { value.w0 }
    public static func < (a: PublicKey, b: PublicKey) -> Bool { a.value < b.value }
    public var description: String { Base32.encode(value.bytes) }
}

/// The rendezvous key of a model: the hash of its canonical name.
public struct TopicID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var value: Bytes32
    public init(_ value: Bytes32) { self.value = value }
    public static func < (a: TopicID, b: TopicID) -> Bool { a.value < b.value }
    public var description: String { Base32.encode(value.bytes) }
}

/// An Ed25519 signature, RFC 8032: R and S, 64 bytes.
public struct Signature: Hashable, Sendable {
    public var r: Bytes32
    public var s: Bytes32
    @inlinable
    public init(r: Bytes32, s: Bytes32) {
        self.r = r
        self.s = s
    }
    /// Reads exactly 64 bytes; nil for any other length.
    @inlinable
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == 64, let r = Bytes32(bytes.prefix(32)), let s = Bytes32(bytes.suffix(32)) else {
            return nil
        }
        self.init(r: r, s: s)
    }
    public var bytes: [UInt8] { r.bytes + s.bytes }
}

/// One client request's name, 128 random bits drawn by the auctioneer.
public struct TaskID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var high: UInt64
    public var low: UInt64
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
    /// Reads exactly 16 bytes; nil for any other length.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        for (index, byte) in bytes.enumerated() {
            if index < 8 {
                words.0 = words.0 << 8 | UInt64(byte)
            } else {
                words.1 = words.1 << 8 | UInt64(byte)
            }
        }
        self.init(high: words.0, low: words.1)
    }
    public init(random: inout SeededRandom) {
        self.init(high: random.next(), low: random.next())
    }
    public var bytes: [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: high >> (56 - 8 * $0)) }
            + (0..<8).map { UInt8(truncatingIfNeeded: low >> (56 - 8 * $0)) }
    }
    public static func < (a: TaskID, b: TaskID) -> Bool { (a.high, a.low) < (b.high, b.low) }
    /// 26 characters of lower-case Crockford base 32.
    public var description: String { Base32.encode(bytes) }
}
