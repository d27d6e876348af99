import Foundation
import Primitives
import Testing

@testable import Wire

/// Random values survive encoding and decoding. With STARLING_WIRE_OUT=FILE their encodings are also written
/// there, for Google's protobuf to read (`scripts/vectors check`).
@Suite struct OtherDirectionTests {
    private struct Entry: Encodable {
        var type: String
        var hex: String
        var fields: JSONValue
    }

    @Test func randomValuesComeBackAsTheyWere() throws {
        var random = SeededRandom(seed: 3)
        var entries: [Entry] = []
        for _ in 0..<300 {
            for value in Self.values(&random) {
                let bytes = value.encoded()
                #expect(try Decoded(value.type, bytes) == value)
                entries.append(Entry(type: value.type, hex: hex(bytes), fields: value.fields))
            }
        }
        if let path = ProcessInfo.processInfo.environment["STARLING_WIRE_OUT"] {
            try JSONEncoder().encode(entries).write(to: URL(fileURLWithPath: path))
        }
    }

    private static func values(_ random: inout SeededRandom) -> [Decoded] {
        func flag() -> Bool { random.chance(1, in: 2) }
        func number(_ max: UInt64) -> UInt64 {
            let bits = UInt64(random.below(65))
            let value = bits == 0 ? 0 : random.next() >> (64 - bits)
            return min(value, max)
        }
        func small(_ max: UInt32) -> UInt32 { UInt32(truncatingIfNeeded: number(UInt64(max))) }
        func price() -> Price {
            func one() -> Int64 { Int64(number(UInt64(WireLimits.priceMax))) }
            return Price(input: one(), cachedInput: one(), output: one())
        }
        func text(_ max: Int) -> String {
            let letters = Array("abz09-._ é✓🦩\"\\")
            return String((0..<random.below(max)).map { _ in letters[random.below(letters.count)] })
                .limited(toUTF8: max)
        }
        func model() -> String {
            let letters = Array("abz09.")
            let name = (0...random.below(61)).map { _ in letters[random.below(letters.count)] }
            return "m" + String(name) + (flag() ? "-7" : "7")
        }
        func key() -> PublicKey { PublicKey(random.bytes32()) }
        func maybe32() -> Bytes32? { flag() ? random.bytes32() : nil }
        func date() -> WallTime {
            WallTime(milliseconds: Int64(number(UInt64(WireLimits.dateMax.milliseconds))))
        }
        func endpoint() -> Endpoint {
            let port = UInt16(1 + random.below(65_535))
            return flag()
                ? Endpoint(ipv4: UInt32(truncatingIfNeeded: random.next()), port: port)
                : Endpoint(high: random.next(), low: random.next(), port: port)
        }
        func endpoints(_ max: Int) -> [Endpoint] { (0..<random.below(max + 1)).map { _ in endpoint() } }
        func record() -> SignedRecord {
            SignedRecord(
                body: random.bytes(1 + random.below(300)),
                signature: Signature(r: random.bytes32(), s: random.bytes32()))
        }
        func records(_ max: Int) -> [SignedRecord] { (0..<random.below(max + 1)).map { _ in record() } }
        let task = TaskID(random: &random)
        let attempt = small(WireLimits.attemptMax)
        let call = CallForBids(
            task: task, attempt: attempt, model: model(), digest: maybe32(),
            quantizations: (0..<random.below(9)).map { _ in text(16) },
            features: Features(rawValue: small(.max)),
            mustContinue: flag(), tokensIn: small(WireLimits.tokensMax),
            tokensOut: small(WireLimits.tokensMax),
            tokensOutMax: small(WireLimits.tokensMax), maxPrice: flag() ? price() : nil,
            closeMilliseconds: small(250), deadlineMilliseconds: small(WireLimits.durationMax),
            weights: Weights(timePerSecond: small(WireLimits.timeValueMax), trustPower: small(8)),
            cacheHandle: random.bytes(random.below(33)), buyerUnreachable: flag(), isQuote: flag())
        let versions = (0..<random.below(40)).map { _ in
            OfferVersion(id: number(.max), sequence: number(WireLimits.sequenceMax))
        }
        let messages: [Message] = [
            .discovery(.ping(contact: flag() ? record() : nil)),
            .discovery(.pong(contact: flag() ? record() : nil, observed: flag() ? endpoint() : nil)),
            .discovery(.find(target: random.bytes32())), .discovery(.found(contacts: records(2))),
            .unsupported(kind: small(.max)),
            .gossip(.offerMail(records(2))), .gossip(.offerReceived),
            .gossip(.offerDigest(OfferDigest(first: number(.max), last: number(.max), offers: versions))),
            .gossip(
                .offerDifference(
                    OfferDifference(
                        offers: records(2), wanted: (0..<random.below(20)).map { _ in number(.max) },
                        more: small(WireLimits.moreMax), now: date()))),
            .market(.callForBids(call)), .market(.bid(record())),
            .market(
                .decline(
                    Decline(
                        task: task, attempt: attempt,
                        reason: DeclineReason(rawValue: UInt32(random.below(13))) ?? .busy,
                        retryAfterMilliseconds: small(WireLimits.durationMax)))),
            .market(
                .release(Release(task: task, attempt: attempt, winningScore: number(WireLimits.scoreMax)))),
            .market(.award(Award(task: task, attempt: attempt, workerDials: flag()))),
            .market(
                .awardReply(
                    AwardReply(
                        task: task, attempt: attempt,
                        status: AwardStatus(rawValue: UInt32(random.below(4))) ?? .busy))),
            .discovery(.register(Register(registration: record(), withdrawn: flag(), start: small(.max)))),
            .discovery(
                .registered(Registered(heldMilliseconds: small(WireLimits.durationMax), contacts: records(2)))
            ),
            .discovery(.get(topic: TopicID(random.bytes32()), start: small(.max))),
            .discovery(.providers(Providers(registrations: records(1), contacts: records(1)))),
            .discovery(
                .callbackRequest(
                    CallbackRequest(
                        nonce: 1 + number(.max - 1), port: UInt16(1 + small(65_534)), channel: flag()))),
            .discovery(
                .callbackOrder(
                    CallbackOrder(
                        publicKey: key(), endpoint: endpoint(), nonce: 1 + number(.max - 1), channel: flag()))
            ),
            .discovery(.callbackAnswer(nonce: 1 + number(.max - 1), called: flag() ? endpoint() : nil)),
            .discovery(.callback(nonce: 1 + number(.max - 1))),
        ]
        let bodies: [FrameBody] = [
            .open(
                TaskOpen(
                    kind: TaskKind(rawValue: UInt32(random.below(4))) ?? .chat,
                    bodyBytes: small(WireLimits.taskBodyMax),
                    maxTokens: small(WireLimits.tokensMax), deliveredBytes: small(WireLimits.taskBodyMax),
                    windowBytes: small(WireLimits.windowMax),
                    deadlineMilliseconds: small(WireLimits.durationMax))),
            .bodyPart(random.bytes(random.below(400))),
            .delta(
                Delta(
                    offset: number(WireLimits.offsetMax), text: random.bytes(random.below(300)),
                    tokens: small(WireLimits.tokensMax), extra: random.bytes(random.below(9)))),
            .progress(
                Progress(
                    phase: Phase(rawValue: UInt32(random.below(5))) ?? .queued,
                    tokens: small(WireLimits.tokensMax), place: small(WireLimits.tokensMax))),
            .finish(
                Finish(
                    reason: text(32).filter { $0 != "\n" }, promptTokens: small(WireLimits.tokensMax),
                    cachedTokens: small(WireLimits.tokensMax), completionTokens: small(WireLimits.tokensMax),
                    cacheHandle: random.bytes(random.below(33)),
                    droppedFields: (0..<random.below(17)).map { _ in text(64) },
                    extra: random.bytes(random.below(200)))),
            .fail(Fail(code: text(64), message: text(400), anotherMaySucceed: flag())),
            .cancel, .window(consumed: number(WireLimits.offsetMax)), .receipt(record()), .hello,
        ]
        let offer = Offer(
            publicKey: key(), model: model(), digest: maybe32(),
            digestSource: DigestSource(rawValue: UInt32(random.below(3))) ?? .file, quantization: text(16),
            context: small(WireLimits.tokensMax), features: Features(rawValue: small(.max)),
            continues: flag(),
            price: flag() ? price() : Price(), slots: small(WireLimits.slotsMax),
            speed: Speed(
                firstTokenMilliseconds: small(WireLimits.durationMax),
                millitokensPerSecond: small(WireLimits.millitokensPerSecondMax),
                coldFirstTokenMilliseconds: small(WireLimits.durationMax),
                promptTokensPerSecond: small(WireLimits.tokensMax)),
            endpoints: endpoints(2), reachability: Reachability(rawValue: UInt32(random.below(3))) ?? .direct,
            name: text(32), sequence: number(WireLimits.sequenceMax), issuedAt: date(), notAfter: date(),
            withdrawn: flag())
        let contact = Contact(
            publicKey: key(), endpoints: endpoints(4),
            reachability: Reachability(rawValue: UInt32(random.below(3))) ?? .direct,
            sequence: number(WireLimits.sequenceMax), issuedAt: date(), name: text(32),
            versions: (0..<random.below(5)).map { _ in small(.max) })
        let bid = Bid(
            task: task, attempt: attempt, bidder: key(), buyer: key(), price: price(),
            queueMilliseconds: small(WireLimits.durationMax),
            firstTokenMilliseconds: small(WireLimits.durationMax),
            millitokensPerSecond: small(WireLimits.millitokensPerSecondMax),
            cachedTokens: small(WireLimits.tokensMax),
            workerDials: flag(), digest: maybe32(), quantization: text(16), continues: flag(),
            context: small(WireLimits.tokensMax), promptTokensPerSecond: small(WireLimits.tokensMax))
        let registration = Registration(
            publicKey: key(), topic: TopicID(random.bytes32()), endpoints: endpoints(2), issuedAt: date())
        let receipt = Receipt(
            task: task, attempt: attempt, buyer: key(), worker: key(),
            sequence: number(WireLimits.sequenceMax),
            promptTokens: number(WireLimits.receiptTokensMax),
            cachedTokens: number(WireLimits.receiptTokensMax),
            completionTokens: number(WireLimits.receiptTokensMax),
            cost: Money(microCredits: Int64(number(UInt64(WireLimits.costMax.microCredits)))), final: flag(),
            issuedAt: date())
        return messages.map {
            .envelope(Envelope(request: small(.max), reply: small(.max), message: $0))
        } + bodies.map { .frame(Frame(task: task, attempt: attempt, body: $0)) }
            + [.contact(contact), .offer(offer), .bid(bid), .receipt(receipt), .registration(registration)]
    }
}
