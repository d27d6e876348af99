import Primitives

/// The market's messages, `Protocol/messages.proto`. Each names a task, and is refused without one.
extension MarketMessage {
    public enum Kind: UInt32, Sendable {
        case callForBids = 24, bid, decline, release, award, awardReply
    }

    public var kind: Kind {
        switch self {
        case .callForBids: .callForBids
        case .bid: .bid
        case .decline: .decline
        case .release: .release
        case .award: .award
        case .awardReply: .awardReply
        }
    }

    func write(_ w: inout ProtoWriter) {
        switch self {
        case .callForBids(let call): w.message(kind.rawValue, expecting: 128) { call.write(&$0) }
        case .bid(let record): w.record(kind.rawValue, record)
        case .decline(let decline): w.message(kind.rawValue) { decline.write(&$0) }
        case .release(let release): w.message(kind.rawValue) { release.write(&$0) }
        case .award(let award): w.message(kind.rawValue) { award.write(&$0) }
        case .awardReply(let reply): w.message(kind.rawValue) { reply.write(&$0) }
        }
    }

    init(_ kind: Kind, _ r: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        switch kind {
        case .callForBids: self = .callForBids(try CallForBids(r, bytes))
        case .bid: self = .bid(try SignedRecord(r, bytes))
        case .decline: self = .decline(try Decline(r, bytes))
        case .release: self = .release(try Release(r, bytes))
        case .award: self = .award(try Award(r, bytes))
        case .awardReply: self = .awardReply(try AwardReply(r, bytes))
        }
    }
}

extension CallForBids {
    func write(_ w: inout ProtoWriter) {
        w.task(1, task)
        w.uint(2, attempt)
        w.text(3, model, max: WireLimits.modelMax)
        w.bytes32(4, digest)
        w.texts(5, quantizations, max: WireLimits.quantizationMax, countMax: WireLimits.quantizationsMax)
        w.uint(6, features.rawValue)
        w.bool(7, mustContinue)
        w.uint(8, tokensIn)
        w.uint(9, tokensOut)
        w.uint(10, tokensOutMax)
        if let maxPrice { w.message(11) { maxPrice.write(&$0) } }
        w.uint(12, closeMilliseconds)
        w.uint(13, deadlineMilliseconds)
        w.message(14, omitEmpty: true) { weights.write(&$0) }
        w.data(15, cacheHandle)
        w.bool(16, buyerUnreachable)
        w.bool(17, isQuote)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        var task: TaskID?
        self.init(
            task: TaskID(high: 0, low: 0), attempt: 0, model: "",
            weights: Weights(timePerSecond: 0, trustPower: 0))
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&task, bytes)
            case 2: try r.read(&attempt, max: WireLimits.attemptMax)
            case 3: try r.read(model: &model, bytes)
            case 4: try r.read(&digest, bytes)
            case 5:
                try r.append(
                    to: &quantizations, bytes, max: WireLimits.quantizationMax,
                    countMax: WireLimits.quantizationsMax)
            case 6: r.read(&features)
            case 7: r.read(&mustContinue)
            case 8: r.read(&tokensIn, clampedTo: WireLimits.tokensMax)
            case 9: r.read(&tokensOut, clampedTo: WireLimits.tokensMax)
            case 10: r.read(&tokensOutMax, clampedTo: WireLimits.tokensMax)
            case 11:
                guard let inner = r.message else { continue }
                var price = maxPrice ?? Price()
                try price.read(inner, bytes)
                maxPrice = price
            case 12: r.read(&closeMilliseconds, clampedTo: WireLimits.closeMax)
            case 13: r.read(&deadlineMilliseconds, clampedTo: WireLimits.durationMax)
            case 14: if let inner = r.message { try weights.read(inner, bytes) }
            case 15: try r.read(&cacheHandle, bytes, max: WireLimits.cacheHandleMax)
            case 16: r.read(&buyerUnreachable)
            case 17: r.read(&isQuote)
            default: break
            }
        }
        guard let task, !model.isEmpty else { throw .missingField }
        self.task = task
    }
}

extension Decline {
    func write(_ w: inout ProtoWriter) {
        w.task(1, task)
        w.uint(2, attempt)
        w.uint(3, reason.rawValue)
        w.uint(4, retryAfterMilliseconds)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        var task: TaskID?
        self.init(task: TaskID(high: 0, low: 0), attempt: 0, reason: .unspecified)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&task, bytes)
            case 2: try r.read(&attempt, max: WireLimits.attemptMax)
            case 3: r.read(&reason, unknown: .unspecified)
            case 4: r.read(&retryAfterMilliseconds, clampedTo: WireLimits.durationMax)
            default: break
            }
        }
        guard let task else { throw .missingField }
        self.task = task
    }
}

extension Release {
    func write(_ w: inout ProtoWriter) {
        w.task(1, task)
        w.uint(2, attempt)
        w.uint(3, winningScore)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        var task: TaskID?
        self.init(task: TaskID(high: 0, low: 0), attempt: 0, winningScore: 0)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&task, bytes)
            case 2: try r.read(&attempt, max: WireLimits.attemptMax)
            case 3: r.read(&winningScore, clampedTo: WireLimits.scoreMax)
            default: break
            }
        }
        guard let task else { throw .missingField }
        self.task = task
    }
}

extension Award {
    func write(_ w: inout ProtoWriter) {
        w.task(1, task)
        w.uint(2, attempt)
        w.bool(3, workerDials)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        var task: TaskID?
        self.init(task: TaskID(high: 0, low: 0), attempt: 0, workerDials: false)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&task, bytes)
            case 2: try r.read(&attempt, max: WireLimits.attemptMax)
            case 3: r.read(&workerDials)
            default: break
            }
        }
        guard let task else { throw .missingField }
        self.task = task
    }
}

extension AwardReply {
    func write(_ w: inout ProtoWriter) {
        w.task(1, task)
        w.uint(2, attempt)
        w.uint(3, status.rawValue)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        var task: TaskID?
        self.init(task: TaskID(high: 0, low: 0), attempt: 0, status: .unspecified)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&task, bytes)
            case 2: try r.read(&attempt, max: WireLimits.attemptMax)
            case 3: r.read(&status, unknown: .unspecified)
            default: break
            }
        }
        guard let task else { throw .missingField }
        self.task = task
    }
}
