import Primitives

/// REGISTER, REGISTERED, GET and PROVIDERS: `Protocol/messages.proto`, Rendezvous.
extension Register {
    func write(_ w: inout ProtoWriter) {
        w.record(1, registration)
        w.bool(2, withdrawn)
        w.uint(3, start)
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        var registration: SignedRecord?
        var withdrawn = false
        var start: UInt32 = 0
        while try r.next(bytes) {
            switch r.field {
            case 1: if let inner = r.message { registration = try SignedRecord(inner, bytes) }
            case 2: r.read(&withdrawn)
            case 3: r.read(&start)
            default: break
            }
        }
        guard let registration else { throw .missingField }
        self.init(registration: registration, withdrawn: withdrawn, start: start)
    }
}

extension Registered {
    func write(_ w: inout ProtoWriter) {
        w.uint(1, heldMilliseconds)
        w.records(2, contacts.prefix(WireLimits.foundContactsMax))
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init(heldMilliseconds: 0)
        while try r.next(bytes) {
            switch r.field {
            case 1: r.read(&heldMilliseconds, clampedTo: WireLimits.durationMax)
            case 2: try r.append(to: &contacts, bytes, countMax: WireLimits.foundContactsMax)
            default: break
            }
        }
    }
}

extension DiscoveryMessage {
    static func readGet(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) -> DiscoveryMessage {
        var r = reader
        var topic: Bytes32?
        var start: UInt32 = 0
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.read(&topic, bytes)
            case 2: r.read(&start)
            default: break
            }
        }
        guard let topic else { throw .missingField }
        return .get(topic: TopicID(topic), start: start)
    }
}

extension Providers {
    func write(_ w: inout ProtoWriter) {
        w.records(1, registrations.prefix(WireLimits.registrationsMax))
        w.records(2, contacts.prefix(WireLimits.foundContactsMax))
    }

    init(_ reader: ProtoReader, _ bytes: RawSpan) throws(WireError) {
        var r = reader
        self.init()
        while try r.next(bytes) {
            switch r.field {
            case 1: try r.append(to: &registrations, bytes, countMax: WireLimits.registrationsMax)
            case 2: try r.append(to: &contacts, bytes, countMax: WireLimits.foundContactsMax)
            default: break
            }
        }
    }
}
