// Sends first handshake messages that never complete, at a given rate or as fast as one core can.

import Cryptography
import Glibc
import Primitives
import Wire

struct HandshakeFlood {
    /// Distinct messages, sent in rotation: a node remembers nothing of a message that fails.
    private static let variants = 4_096
    /// Size of a PING's first message: header, macs, Noise message 1 with key, number and a padded envelope.
    private static let bytes = 36 + 80 + 36 + 352 + 16

    let target: Endpoint
    let key: PublicKey
    /// With a valid mac, a node must do more work before it drops the rest, which is random bytes.
    let hasRightMac: Bool
    /// Messages a second; 0 means no limit.
    let rate: Int
    let seconds: Double

    func run() throws {
        let socket = try RawSocket(to: target)
        var slab = [UInt8](repeating: 0, count: Self.variants * Self.bytes)
        var random = SeededRandom(seed: 5)
        for index in slab.indices { slab[index] = UInt8(truncatingIfNeeded: random.next()) }
        // Protocol/sessions.md: mac1 covers the header and the first 144 bytes from offset 36.
        let macKey = Secret32(
            Blake2b.hash(domain: "starling mac1", key.value.bytes, [UInt8](repeating: 0, count: 32)))
        slab.withUnsafeMutableBytes { raw in
            for index in 0..<Self.variants {
                let packet = UnsafeMutableRawBufferPointer(
                    rebasing: raw[index * Self.bytes..<(index + 1) * Self.bytes])
                packet[0] = 1
                packet[1] = 1
                packet[2] = 0
                packet[3] = 0
                // No cookie.
                for offset in 20..<36 { packet[offset] = 0 }
                guard hasRightMac else { continue }
                let mac = Blake2b.mac16(
                    key: macKey, UnsafeRawBufferPointer(rebasing: packet[..<4]),
                    UnsafeRawBufferPointer(rebasing: packet[36..<36 + 144]))
                packet.storeBytes(of: mac.low, toByteOffset: 4, as: UInt64.self)
                packet.storeBytes(of: mac.high, toByteOffset: 12, as: UInt64.self)
            }
        }
        let ranges = (0..<Self.variants).map { $0 * Self.bytes..<($0 + 1) * Self.bytes }
        var sent = 0
        var next = 0
        var answers = 0
        var buffer = [UInt8](repeating: 0, count: 256 * RawSocket.batchMax)
        var lengths: [Int] = []
        let start = SystemClockReading.now()
        var elapsed = 0.0
        slab.withUnsafeBytes { bytes in
            while elapsed < seconds {
                if rate == 0 || Double(sent) < elapsed * Double(rate) {
                    sent += socket.send(bytes, ranges[next..<min(next + RawSocket.batchMax, Self.variants)])
                    next = (next + RawSocket.batchMax) % Self.variants
                } else {
                    // A batch of 64 at 100,000 a second takes 0.64 ms.
                    usleep(200)
                }
                buffer.withUnsafeMutableBytes { socket.receive($0, slot: 256, &lengths) }
                answers += lengths.count
                elapsed = SystemClockReading.now() - start
            }
        }
        var report = BenchmarkReport()
        report.add("sent", Double(sent))
        report.add("seconds", elapsed)
        report.add("answers", Double(answers))
        report.add("bytes", Double(Self.bytes))
        say(report.json)
    }
}
