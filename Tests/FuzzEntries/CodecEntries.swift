import Cryptography
import Primitives
import Wire

/// A list of one number takes one byte more packed than unpacked; an envelope has at most two such lists.
private let packingMax = 2

/// Anything that a decoder accepts must be written by its encoder, in no more bytes, and read again as the
/// same value.
func fuzzEnvelope(_ bytes: [UInt8]) {
    let header = try? Envelope.header(of: bytes)
    guard let envelope = try? Envelope(decoding: bytes) else { return }
    precondition(
        header?.request == envelope.request && header?.reply == envelope.reply, "header and envelope")
    precondition(header?.kind == envelope.message.kind, "the header names kind \(String(describing: header))")
    let written = envelope.encoded()
    precondition(written.count <= bytes.count + packingMax, "\(bytes.count) bytes became \(written.count)")
    precondition((try? Envelope(decoding: written)) == envelope, "an envelope is read differently again")
    precondition(envelope.encoded(paddedTo: 1_100).count <= WireLimits.envelopeSizeMax, "padding overflows")
}

func fuzzFrame(_ bytes: [UInt8]) {
    guard let frame = try? Frame(decoding: bytes) else { return }
    let written = frame.encoded()
    precondition(written.count <= bytes.count + packingMax, "\(bytes.count) bytes became \(written.count)")
    precondition((try? Frame(decoding: written)) == frame, "a frame is read differently again")
}

/// The first byte selects the record.
func fuzzRecord(_ bytes: [UInt8]) {
    guard let kind = bytes.first else { return }
    let body = Array(bytes.dropFirst())
    switch kind % 5 {
    case 0: check(Contact.self, body)
    case 1: check(Offer.self, body)
    case 2: check(Bid.self, body)
    case 3: check(Receipt.self, body)
    default: check(Registration.self, body)
    }
}

private func check<R: Record>(_ type: R.Type, _ body: [UInt8]) {
    guard let record = try? R(decoding: body) else { return }
    precondition(body.count <= R.bodySizeMax, "a record of \(body.count) bytes")
    let written = record.encoded()
    precondition((try? R(decoding: written)) == record, "a record is read differently again")
    let signature = Signature(r: .zero, s: .zero)
    let forged = try? Verified<R>(checking: SignedRecord(body: body, signature: signature))
    precondition(forged == nil, "a forged record passes")
}
