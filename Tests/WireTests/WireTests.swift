import Primitives
import Testing

@testable import Wire

@Suite struct RoundTripTests {
    @Test func aCallComesBackAsItWas() throws {
        let call = CallForBids(
            task: TaskID(high: 1, low: 2), attempt: 1, model: "wren-m", digest: Bytes32(1, 2, 3, 4),
            quantizations: ["q8_0", ""], features: [.chat, .tools], mustContinue: true, tokensIn: 100, tokensOut: 200,
            maxPrice: Price(), closeMilliseconds: 120, deadlineMilliseconds: 60_000, cacheHandle: [1, 2])
        let envelope = Envelope(request: 7, message: .callForBids(call))
        #expect(try Envelope(decoding: envelope.encoded()) == envelope)
    }

    @Test func paddingReachesEverySizeWithoutPassingTheLimit() throws {
        for message in [Message.ping(contact: nil), .offerReceived] {
            let envelope = Envelope(request: 300, message: message)
            for size in 0...1_200 {
                let bytes = envelope.encoded(paddedTo: size)
                #expect(bytes.count >= min(size, WireLimits.envelopeSizeMax) && bytes.count <= max(size, 5) + 2)
                #expect(bytes.count <= WireLimits.envelopeSizeMax)
                #expect(try Envelope(decoding: bytes) == envelope)
            }
        }
    }
}
