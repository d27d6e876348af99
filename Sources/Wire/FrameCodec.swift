import Primitives

/// Channel frames, `Protocol/channel.proto`.

/// The field numbers of a frame's body.
private enum FrameKind: UInt32 {
    case open = 8, bodyPart, delta, progress, finish, fail, cancel, window, receipt, hello
}

extension Frame {
    /// Appends the canonical encoding.
    public func encode(into bytes: inout [UInt8]) {
        var w = ProtoWriter(continuing: &bytes)
        w.task(1, task)
        w.uint(2, attempt)
        body.write(&w)
        bytes = w.bytes
    }

    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        encode(into: &bytes)
        return bytes
    }

    /// Throws `.unknownKind` for a body of a later version, which the receiver ignores.
    public init(decoding bytes: RawSpan) throws(WireError) {
        guard bytes.byteCount <= WireLimits.frameSizeMax else { throw .tooLarge }
        var task: TaskID?
        var attempt: UInt32 = 0
        var body: FrameBody?
        var sawUnknownKind = false
        var r = ProtoReader(bytes)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&task, bytes)
            case 2: try r.read(&attempt, max: WireLimits.attemptMax)
            default:
                guard r.field >= FrameKind.open.rawValue, let inner = r.message else { continue }
                if let kind = FrameKind(rawValue: r.field) {
                    body = try FrameBody(kind, inner, bytes)
                } else {
                    sawUnknownKind = true
                }
            }
        }
        guard let body else { throw sawUnknownKind ? .unknownKind : .missingField }
        guard let task else { throw .missingField }
        self.init(task: task, attempt: attempt, body: body)
    }

    public init(decoding bytes: [UInt8]) throws(WireError) { try self.init(decoding: bytes.span.bytes) }
}

extension FrameBody {
    private var kind: FrameKind {
        switch self {
        case .open: .open
        case .bodyPart: .bodyPart
        case .delta: .delta
        case .progress: .progress
        case .finish: .finish
        case .fail: .fail
        case .cancel: .cancel
        case .window: .window
        case .receipt: .receipt
        case .hello: .hello
        }
    }

    fileprivate func write(_ w: inout ProtoWriter) {
        let field = kind.rawValue
        switch self {
        case .open(let open): w.message(field) { open.write(&$0) }
        case .bodyPart(let part): w.message(field, expecting: part.count + 4) { $0.data(1, part) }
        case .delta(let delta):
            w.message(field, expecting: delta.text.count + delta.extra.count + 6) { delta.write(&$0) }
        case .progress(let progress):
            w.message(field) {
                $0.uint(1, progress.phase.rawValue)
                $0.uint(2, progress.tokens)
                $0.uint(3, progress.place)
            }
        case .finish(let finish): w.message(field, expecting: finish.extra.count + 16) { finish.write(&$0) }
        case .fail(let fail):
            w.message(field) {
                $0.text(1, fail.code, max: WireLimits.failCodeMax)
                $0.text(2, fail.message, max: WireLimits.failMessageMax)
                $0.bool(3, fail.anotherMaySucceed)
            }
        case .cancel, .hello: w.message(field) { _ in }
        case .window(let consumed): w.message(field) { $0.uint(1, consumed) }
        case .receipt(let record): w.record(field, record)
        }
    }

    fileprivate init(_ kind: FrameKind, _ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        switch kind {
        case .open: self = .open(try TaskOpen(r, bytes))
        case .bodyPart:
            var part: [UInt8] = []
            while try r.next(bytes) {
                if r.field == 1 { try r.read(&part, bytes, max: WireLimits.payloadMax) }
            }
            self = .bodyPart(part)
        case .delta: self = .delta(try Delta(r, bytes))
        case .progress: self = .progress(try Progress(r, bytes))
        case .finish: self = .finish(try Finish(r, bytes))
        case .fail: self = .fail(try Fail(r, bytes))
        case .cancel:
            while try r.next(bytes) {}
            self = .cancel
        case .window:
            var consumed: UInt64 = 0
            while try r.next(bytes) {
                if r.field == 1 { try r.read(&consumed, max: WireLimits.offsetMax) }
            }
            self = .window(consumed: consumed)
        case .receipt: self = .receipt(try SignedRecord(r, bytes))
        case .hello:
            while try r.next(bytes) {}
            self = .hello
        }
    }
}

extension TaskOpen {
    fileprivate func write(_ w: inout ProtoWriter) {
        w.uint(1, kind.rawValue)
        w.uint(2, bodyBytes)
        w.uint(3, maxTokens)
        w.uint(5, deliveredBytes)
        w.uint(6, windowBytes)
        w.uint(7, deadlineMilliseconds)
    }

    fileprivate init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init(kind: .unspecified, bodyBytes: 0)
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(&kind, unknown: .unspecified)
            case 2: try r.read(&bodyBytes, max: WireLimits.taskBodyMax)
            case 3: r.read(&maxTokens, clampedTo: WireLimits.tokensMax)
            case 5: try r.read(&deliveredBytes, max: WireLimits.taskBodyMax)
            case 6: r.read(&windowBytes, clampedTo: WireLimits.windowMax)
            case 7: r.read(&deadlineMilliseconds, clampedTo: WireLimits.durationMax)
            default: break
            }
        }
    }
}

extension Delta {
    fileprivate func write(_ w: inout ProtoWriter) {
        w.uint(1, offset)
        w.data(2, text)
        w.uint(3, tokens)
        w.data(4, extra)
    }

    fileprivate init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init(offset: 0, text: [], tokens: 0)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&offset, max: WireLimits.offsetMax)
            case 2: try r.read(&text, bytes, max: WireLimits.payloadMax)
            case 3: r.read(&tokens, clampedTo: WireLimits.tokensMax)
            case 4: try r.read(&extra, bytes, max: WireLimits.payloadMax)
            default: break
            }
        }
    }
}

extension Progress {
    fileprivate init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init(phase: .unspecified, tokens: 0)
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(&phase, unknown: .unspecified)
            case 2: r.read(&tokens, clampedTo: WireLimits.tokensMax)
            case 3: r.read(&place, clampedTo: WireLimits.tokensMax)
            default: break
            }
        }
    }
}

extension Finish {
    fileprivate func write(_ w: inout ProtoWriter) {
        w.text(1, reason, max: WireLimits.reasonMax)
        w.uint(2, promptTokens)
        w.uint(3, cachedTokens)
        w.uint(4, completionTokens)
        w.data(5, cacheHandle)
        w.texts(6, droppedFields, max: WireLimits.droppedFieldMax, countMax: WireLimits.droppedFieldsMax)
        w.data(7, extra)
    }

    fileprivate init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init(reason: "")
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(foreign: &reason, bytes, max: WireLimits.reasonMax)
            case 2: r.read(&promptTokens, clampedTo: WireLimits.tokensMax)
            case 3: r.read(&cachedTokens, clampedTo: WireLimits.tokensMax)
            case 4: r.read(&completionTokens, clampedTo: WireLimits.tokensMax)
            case 5: try r.read(&cacheHandle, bytes, max: WireLimits.cacheHandleMax)
            case 6:
                try r.append(
                    foreignTo: &droppedFields, bytes, max: WireLimits.droppedFieldMax,
                    countMax: WireLimits.droppedFieldsMax)
            case 7: try r.read(&extra, bytes, max: WireLimits.payloadMax)
            default: break
            }
        }
    }
}

extension Fail {
    fileprivate init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init(code: "", message: "", anotherMaySucceed: false)
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(foreign: &code, bytes, max: WireLimits.failCodeMax)
            case 2: try r.read(foreign: &message, bytes, max: WireLimits.failMessageMax)
            case 3: r.read(&anotherMaySucceed)
            default: break
            }
        }
    }
}
