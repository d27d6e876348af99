import Cryptography
import Primitives

/// The five signed records, as laid out in `Protocol/records.proto`. A record is only ever read from the
/// bytes that were signed; unknown fields live on in those bytes.

extension Contact: Record {
    public static var domain: StaticString { "starling contact" }
    public static var bodySizeMax: Int { WireLimits.contactBodyMax }
    public var author: PublicKey { publicKey }

    public func encoded() -> [UInt8] {
        var w = ProtoWriter(reserving: 128)
        w.bytes32(1, publicKey.value)
        w.endpoints(2, endpoints.prefix(WireLimits.contactEndpointsMax))
        w.uint(3, reachability.rawValue)
        w.uint(4, sequence)
        w.date(5, issuedAt)
        w.text(6, name, max: WireLimits.nameMax)
        w.packed(7, varints: versions.prefix(WireLimits.versionsMax))
        return w.bytes
    }

    public init(decoding body: [UInt8]) throws(WireError) {
        guard body.count <= Self.bodySizeMax else { throw .tooLarge }
        let bytes = body.span.bytes
        var contact = Contact(publicKey: PublicKey(.zero), versions: [])
        var key: Bytes32?
        var r = ProtoReader(bytes)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&key, bytes)
            case 2:
                try r.append(to: &contact.endpoints, bytes, countMax: WireLimits.contactEndpointsMax)
            case 3: r.read(&contact.reachability, unknown: .unknown)
            case 4: try r.read(&contact.sequence, max: WireLimits.sequenceMax)
            case 5: r.read(&contact.issuedAt)
            case 6: try r.read(&contact.name, bytes, max: WireLimits.nameMax)
            case 7: try r.append(varintsTo: &contact.versions, bytes, countMax: WireLimits.versionsMax)
            default: break
            }
        }
        guard let key else { throw .missingField }
        contact.publicKey = PublicKey(key)
        self = contact
    }
}

extension Registration: Record {
    public static var domain: StaticString { "starling registration" }
    public static var bodySizeMax: Int { WireLimits.registrationBodyMax }
    public var author: PublicKey { publicKey }

    public func encoded() -> [UInt8] {
        var w = ProtoWriter(reserving: 128)
        w.bytes32(1, publicKey.value)
        w.bytes32(2, topic.value)
        w.endpoints(3, endpoints.prefix(WireLimits.registrationEndpointsMax))
        w.date(4, issuedAt)
        return w.bytes
    }

    public init(decoding body: [UInt8]) throws(WireError) {
        guard body.count <= Self.bodySizeMax else { throw .tooLarge }
        let bytes = body.span.bytes
        var registration = Registration(publicKey: PublicKey(.zero), topic: TopicID(.zero))
        var key: Bytes32?
        var topic: Bytes32?
        var r = ProtoReader(bytes)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&key, bytes)
            case 2: try r.read(&topic, bytes)
            case 3:
                try r.append(
                    to: &registration.endpoints, bytes, countMax: WireLimits.registrationEndpointsMax)
            case 4: r.read(&registration.issuedAt)
            default: break
            }
        }
        guard let key, let topic else { throw .missingField }
        registration.publicKey = PublicKey(key)
        registration.topic = TopicID(topic)
        self = registration
    }
}

extension Offer: Record {
    public static var domain: StaticString { "starling offer" }
    public static var bodySizeMax: Int { WireLimits.recordBodyMax }
    public var author: PublicKey { publicKey }

    /// The short id of (node, model) in anti-entropy: `OfferVersion.id`.
    public static func shortID(key: PublicKey, model: String) -> UInt64 {
        Blake2b.hash(domain: "starling offer id", key.value.bytes, Array(model.utf8)).w0
    }

    public func encoded() -> [UInt8] {
        var w = ProtoWriter(reserving: 256)
        w.bytes32(1, publicKey.value)
        w.text(2, model, max: WireLimits.modelMax)
        w.bytes32(3, digest)
        w.uint(4, digestSource.rawValue)
        w.text(5, quantization, max: WireLimits.quantizationMax)
        w.uint(6, context)
        w.uint(7, features.rawValue)
        w.bool(8, continues)
        w.message(9, omitEmpty: true) { price.write(&$0) }
        w.uint(10, slots)
        w.message(11, omitEmpty: true) { speed.write(&$0) }
        w.endpoints(12, endpoints.prefix(WireLimits.offerEndpointsMax))
        w.uint(13, reachability.rawValue)
        w.text(14, name, max: WireLimits.nameMax)
        w.uint(15, sequence)
        w.date(16, issuedAt)
        w.date(17, notAfter)
        w.bool(18, withdrawn)
        return w.bytes
    }

    public init(decoding body: [UInt8]) throws(WireError) {
        guard body.count <= Self.bodySizeMax else { throw .tooLarge }
        let bytes = body.span.bytes
        var offer = Offer(publicKey: PublicKey(.zero), model: "")
        var key: Bytes32?
        var r = ProtoReader(bytes)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&key, bytes)
            case 2: try r.read(model: &offer.model, bytes)
            case 3: try r.read(&offer.digest, bytes)
            case 4: r.read(&offer.digestSource, unknown: .none)
            case 5: try r.read(&offer.quantization, bytes, max: WireLimits.quantizationMax)
            case 6: r.read(&offer.context, clampedTo: WireLimits.tokensMax)
            case 7: r.read(&offer.features)
            case 8: r.read(&offer.continues)
            case 9: if let inner = r.message { try offer.price.read(inner, bytes) }
            case 10: r.read(&offer.slots, clampedTo: WireLimits.slotsMax)
            case 11: if let inner = r.message { try offer.speed.read(inner, bytes) }
            case 12: try r.append(to: &offer.endpoints, bytes, countMax: WireLimits.offerEndpointsMax)
            case 13: r.read(&offer.reachability, unknown: .unknown)
            case 14: try r.read(&offer.name, bytes, max: WireLimits.nameMax)
            case 15: try r.read(&offer.sequence, max: WireLimits.sequenceMax)
            case 16: r.read(&offer.issuedAt)
            case 17: r.read(&offer.notAfter)
            case 18: r.read(&offer.withdrawn)
            default: break
            }
        }
        guard let key, !offer.model.isEmpty else { throw .missingField }
        offer.publicKey = PublicKey(key)
        self = offer
    }
}

extension Bid: Record {
    public static var domain: StaticString { "starling bid" }
    public static var bodySizeMax: Int { WireLimits.bidBodyMax }
    public var author: PublicKey { bidder }

    public func encoded() -> [UInt8] {
        var w = ProtoWriter(reserving: 256)
        w.task(1, task)
        w.uint(2, attempt)
        w.bytes32(3, bidder.value)
        w.bytes32(4, buyer.value)
        w.message(5, omitEmpty: true) { price.write(&$0) }
        w.uint(6, queueMilliseconds)
        w.uint(7, firstTokenMilliseconds)
        w.uint(8, millitokensPerSecond)
        w.uint(9, cachedTokens)
        w.bool(10, workerDials)
        w.bytes32(11, digest)
        w.text(12, quantization, max: WireLimits.quantizationMax)
        w.bool(13, continues)
        w.uint(14, context)
        w.uint(15, promptTokensPerSecond)
        return w.bytes
    }

    public init(decoding body: [UInt8]) throws(WireError) {
        guard body.count <= Self.bodySizeMax else { throw .tooLarge }
        let bytes = body.span.bytes
        var bid = Bid(
            task: TaskID(high: 0, low: 0), attempt: 0, bidder: PublicKey(.zero), buyer: PublicKey(.zero))
        var task: TaskID?
        var bidder: Bytes32?
        var buyer: Bytes32?
        var r = ProtoReader(bytes)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&task, bytes)
            case 2: try r.read(&bid.attempt, max: WireLimits.attemptMax)
            case 3: try r.read(&bidder, bytes)
            case 4: try r.read(&buyer, bytes)
            case 5: if let inner = r.message { try bid.price.read(inner, bytes) }
            case 6: r.read(&bid.queueMilliseconds, clampedTo: WireLimits.durationMax)
            case 7: r.read(&bid.firstTokenMilliseconds, clampedTo: WireLimits.durationMax)
            case 8: r.read(&bid.millitokensPerSecond, clampedTo: WireLimits.millitokensPerSecondMax)
            case 9: r.read(&bid.cachedTokens, clampedTo: WireLimits.tokensMax)
            case 10: r.read(&bid.workerDials)
            case 11: try r.read(&bid.digest, bytes)
            case 12: try r.read(&bid.quantization, bytes, max: WireLimits.quantizationMax)
            case 13: r.read(&bid.continues)
            case 14: r.read(&bid.context, clampedTo: WireLimits.tokensMax)
            case 15: r.read(&bid.promptTokensPerSecond, clampedTo: WireLimits.tokensMax)
            default: break
            }
        }
        guard let task, let bidder, let buyer else { throw .missingField }
        bid.task = task
        bid.bidder = PublicKey(bidder)
        bid.buyer = PublicKey(buyer)
        self = bid
    }
}

extension Receipt: Record {
    public static var domain: StaticString { "starling receipt" }
    public static var bodySizeMax: Int { WireLimits.receiptBodyMax }
    public var author: PublicKey { buyer }

    public func encoded() -> [UInt8] {
        var w = ProtoWriter(reserving: 192)
        w.task(1, task)
        w.uint(2, attempt)
        w.bytes32(3, buyer.value)
        w.bytes32(4, worker.value)
        w.uint(5, sequence)
        w.uint(6, promptTokens)
        w.uint(7, cachedTokens)
        w.uint(8, completionTokens)
        w.int(9, cost.microCredits)
        w.bool(10, final)
        w.date(11, issuedAt)
        return w.bytes
    }

    public init(decoding body: [UInt8]) throws(WireError) {
        guard body.count <= Self.bodySizeMax else { throw .tooLarge }
        let bytes = body.span.bytes
        var receipt = Receipt(
            task: TaskID(high: 0, low: 0), attempt: 0, buyer: PublicKey(.zero), worker: PublicKey(.zero))
        var task: TaskID?
        var buyer: Bytes32?
        var worker: Bytes32?
        var r = ProtoReader(bytes)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&task, bytes)
            case 2: try r.read(&receipt.attempt, max: WireLimits.attemptMax)
            case 3: try r.read(&buyer, bytes)
            case 4: try r.read(&worker, bytes)
            case 5: try r.read(&receipt.sequence, max: WireLimits.sequenceMax)
            case 6: try r.read(&receipt.promptTokens, max: WireLimits.receiptTokensMax)
            case 7: try r.read(&receipt.cachedTokens, max: WireLimits.receiptTokensMax)
            case 8: try r.read(&receipt.completionTokens, max: WireLimits.receiptTokensMax)
            case 9: try r.read(&receipt.cost.microCredits, max: WireLimits.costMax.microCredits)
            case 10: r.read(&receipt.final)
            case 11: r.read(&receipt.issuedAt)
            default: break
            }
        }
        guard let task, let buyer, let worker else { throw .missingField }
        receipt.task = task
        receipt.buyer = PublicKey(buyer)
        receipt.worker = PublicKey(worker)
        self = receipt
    }
}
