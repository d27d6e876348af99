import Primitives
import Testing

@testable import Wire

/// Bytes that no correct node sends. A decoder may refuse or read them; it may not trap, and what it read
/// must be writable and inside the limits.
@Suite struct HostileTests {
    /// Decodes the bytes, and writes and reads the result again: the second pass must change nothing.
    private func swallow(_ type: String, _ bytes: [UInt8]) -> Bool {
        guard let decoded = try? Decoded(type, bytes) else { return false }
        guard let again = try? Decoded(type, decoded.encoded()) else {
            Issue.record("\(type) \(hex(bytes)): what we read of it can't be read again")
            return true
        }
        if again != decoded { Issue.record("\(type) \(hex(bytes)): not the same when read again") }
        return true
    }

    @Test func everyTruncationIsRefusedOrRead() throws {
        var refused = 0
        for (type, bytes) in try Vector.everything() {
            let lengths =
                bytes.count <= 2_000
                ? Array(0..<bytes.count) : Array(0..<200) + Array(bytes.count - 200..<bytes.count)
            for length in lengths where !swallow(type, Array(bytes.prefix(length))) { refused += 1 }
        }
        #expect(refused > 1_000)
    }

    @Test func everyFlippedBitIsRefusedOrRead() throws {
        for (type, original) in try Vector.everything() {
            var bytes = original
            let places = bytes.count <= 2_000 ? Array(bytes.indices) : Array(0..<60)
            for place in places {
                for bit in 0..<8 {
                    bytes[place] ^= 1 << bit
                    _ = swallow(type, bytes)
                    bytes[place] ^= 1 << bit
                }
            }
        }
    }

    @Test func everyByteReplacedByTheExtremesIsRefusedOrRead() throws {
        for (type, original) in try Vector.everything() where original.count <= 2_000 {
            var bytes = original
            for place in bytes.indices {
                for value in [0, 0x7f, 0x80, 0xff] as [UInt8] {
                    bytes[place] = value
                    _ = swallow(type, bytes)
                }
                bytes[place] = original[place]
            }
        }
    }

    @Test func randomBytesAreRefusedOrRead() throws {
        var random = SeededRandom(seed: 7)
        let types = ["Envelope", "Frame", "Contact", "Offer", "Bid", "Receipt", "Registration"]
        for length in 0...2_000 {
            let bytes = random.bytes(length)
            for type in types { _ = swallow(type, bytes) }
        }
        for _ in 0..<3 {
            let bytes = random.bytes(65_507)
            for type in types { #expect(throws: WireError.tooLarge) { try Decoded(type, bytes) } }
            #expect(throws: WireError.tooLarge) { try Envelope.header(of: bytes) }
        }
    }

    /// Random bytes rarely get past the first tag; random fields do.
    @Test func randomFieldsAreRefusedOrRead() throws {
        var random = SeededRandom(seed: 8)
        let numbers: [UInt64] = [
            0, 1, .max, .max - 1, 1 << 63, 1 << 62, 1 << 32, (1 << 32) - 1, 1 << 31, 1 << 61,
        ]
        func message(_ depth: Int) -> [UInt8] {
            var w = ProtoWriter(reserving: 64)
            for _ in 0...random.below(5) {
                let field = UInt32(1 + random.below(30))
                switch random.below(5) {
                case 0, 1:
                    w.tag(field, .varint)
                    w.varint(random.chance(1, in: 2) ? numbers[random.below(numbers.count)] : random.next())
                case 2: w.fixed64(field, numbers[random.below(numbers.count)])
                case 3: w.data(field, random.bytes([4, 16, 32, 64, 1 + random.below(40)][random.below(5)]))
                default: w.data(field, depth > 0 ? message(depth - 1) : [])
                }
            }
            return w.bytes
        }
        var read = 0
        for _ in 0..<20_000 {
            let bytes = message(3)
            for type in ["Envelope", "Frame", "Contact", "Offer"] where swallow(type, bytes) { read += 1 }
        }
        #expect(read > 100, "the generator reaches no message")
    }

    @Test func aClaimedLengthIsNeverBelieved() {
        for length in [UInt64(UInt32.max), 1 << 40, 1 << 63, .max] {
            for field in 1...40 as ClosedRange<UInt32> {
                var w = ProtoWriter(reserving: 32)
                w.tag(field, .bytes)
                w.varint(length)
                for type in ["Envelope", "Frame", "Contact", "Offer", "Bid", "Receipt", "Registration"] {
                    #expect(throws: WireError.truncated) { try Decoded(type, w.bytes) }
                }
            }
        }
    }

    @Test func extremesOfEveryNumberLeaveRoomForArithmetic() throws {
        let key = PublicKey(Bytes32(1, 1, 1, 1))
        let extreme = Offer(
            publicKey: key, model: "m", context: .max, slots: .max,
            speed: Speed(
                firstTokenMilliseconds: .max, millitokensPerSecond: .max, coldFirstTokenMilliseconds: .max),
            issuedAt: WallTime(milliseconds: .min), notAfter: WallTime(milliseconds: .max))
        let read = try Offer(decoding: extreme.encoded())
        #expect(read.issuedAt == WallTime(milliseconds: 0))
        #expect(read.notAfter == WireLimits.dateMax)
        #expect(read.context == WireLimits.tokensMax && read.slots == WireLimits.slotsMax)
        let wait = Interval.milliseconds(Int64(read.speed.firstTokenMilliseconds))
        #expect(MonotonicTime(nanoseconds: 1 << 62) + wait < .never)
        #expect(throws: WireError.outOfRange) {
            try Offer(decoding: Offer(publicKey: key, model: "m", sequence: .max).encoded())
        }
    }
}
