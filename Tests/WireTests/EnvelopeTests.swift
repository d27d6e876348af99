import Primitives
import Testing

@testable import Wire

@Suite struct EnvelopeTests {
    @Test func paddingReachesEverySizeWithoutPassingTheLimit() throws {
        for message in [Message.discovery(.ping(contact: nil)), .gossip(.offerReceived)] {
            let envelope = Envelope(request: 300, message: message)
            for size in 0...1_200 {
                let bytes = envelope.encoded(paddedTo: size)
                #expect(
                    bytes.count >= min(size, WireLimits.envelopeSizeMax) && bytes.count <= max(size, 6) + 2)
                #expect(bytes.count <= WireLimits.envelopeSizeMax)
                #expect(try Envelope(decoding: bytes) == envelope)
            }
        }
    }

    /// Messages move by value through every machine: a rare large case belongs in a box.
    @Test func aMessageIsNoLargerThanItsLargestFrequentCase() {
        #expect(MemoryLayout<Message>.size <= 91)
    }

    @Test func encodingAppendsToABufferInUse() {
        var bytes: [UInt8] = [1, 2, 3]
        let envelope = Envelope(
            request: 1,
            message: .market(.callForBids(CallForBids(task: TaskID(high: 1, low: 2), attempt: 1, model: "m")))
        )
        envelope.encode(into: &bytes, paddedTo: 200)
        #expect(bytes == [1, 2, 3] + envelope.encoded(paddedTo: 200))
        #expect(bytes.count == 203)
    }

    @Test func theHeaderOfAnUnknownKindSaysWhatToAnswer() throws {
        // request 5, field 999 with one byte
        let bytes: [UInt8] = [0x08, 5, 0xba, 0x3e, 1, 0]
        #expect(throws: WireError.unknownKind) { try Envelope(decoding: bytes) }
        #expect(try Envelope.header(of: bytes) == EnvelopeHeader(request: 5, reply: 0, kind: 999))
    }

    @Test func theHeaderOfAKnownKindNamesIt() throws {
        let envelope = Envelope(reply: 7, message: .gossip(.offerReceived))
        let header = try Envelope.header(of: envelope.encoded(paddedTo: 90) + [0xba, 0x3e, 1, 0])
        #expect(header == EnvelopeHeader(request: 0, reply: 7, kind: 17))
        #expect(envelope.message.kind == 17)
    }

    @Test func aListOfTheStatedSizeFitsAnEnvelope() {
        for size in [40, 55, 56, 57, 127, 128, 200, 300] {
            let record = SignedRecord(
                body: [UInt8](repeating: 1, count: size), signature: Signature(r: .zero, s: .zero))
            let count = min(WireLimits.listSizeMax / record.fieldSize, WireLimits.foundContactsMax)
            let message = Message.discovery(.found(contacts: Array(repeating: record, count: count)))
            let bytes = Envelope(request: .max, reply: .max, message: message).encoded()
            #expect(bytes.count <= WireLimits.envelopeSizeMax)
        }
    }

    @Test func theLargestMessagesFitTheirCarrier() {
        let versions = Array(
            repeating: OfferVersion(id: .max, sequence: 1 << 48), count: WireLimits.digestOffersMax)
        let digest = Message.gossip(.offerDigest(OfferDigest(first: 1, last: .max, offers: versions)))
        #expect(Envelope(request: 1 << 27, message: digest).encoded().count <= WireLimits.envelopeSizeMax)
        let part = [UInt8](repeating: 1, count: WireLimits.payloadMax)
        let frame = Frame(task: TaskID(high: 1, low: 1), attempt: 1, body: .bodyPart(part))
        #expect(frame.encoded().count <= WireLimits.frameSizeMax)
        let fail = Fail(
            code: String(repeating: "é", count: 99), message: String(repeating: "🦩", count: 999),
            anotherMaySucceed: true)
        let encoded = Frame(task: TaskID(high: 1, low: 1), attempt: 1, body: .fail(fail)).encoded()
        #expect(throws: Never.self) { try Frame(decoding: encoded) }
    }

    @Test func textsAreCutBetweenCharacters() {
        #expect("Grüße".limited(toUTF8: 3) == "Gr")
        #expect("Grüße".limited(toUTF8: 4) == "Grü")
        #expect("🦩".limited(toUTF8: 3) == "")
        #expect("abc".limited(toUTF8: 3) == "abc")
    }
}
