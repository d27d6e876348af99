import Primitives

/// Every bound that a decoder applies: the one place where numbers from strangers are made harmless.
///
/// There are three treatments. *Refused* (`outOfRange`, `tooLarge`): sizes, counts, money, sequence numbers,
/// offsets and attempts, for which any other value than the sender's would be wrong. *Clamped*: durations,
/// dates, token counts and speeds, for which the closest sane value does as well. *Unspecified*: an enum
/// value that we don't know. After decoding, sums of a few of these numbers fit their type; products (price ×
/// tokens) do not, and need full-width arithmetic.
public enum WireLimits {
    // Whole encodings, in bytes. The first two fit one datagram (1,200) and one channel record (16,400).
    public static let envelopeSizeMax = 1_100
    public static let frameSizeMax = 16_000
    public static let recordBodyMax = 512
    public static let contactBodyMax = 300
    /// Size to which CALLBACK_REQUEST and CALLBACK_ORDER are padded: more than the CALLBACK and the SYNs that
    /// they cause.
    public static let callbackEnvelopeMin = 352
    public static let registrationBodyMax = 200
    public static let bidBodyMax = 384
    public static let receiptBodyMax = 300
    /// Bytes that the list of a message may take, by `SignedRecord.fieldSize`, so that its envelope fits
    /// `envelopeSizeMax`: request, reply, and the tags and lengths around it take at most 20 bytes.
    public static let listSizeMax = envelopeSizeMax - 20

    // Texts, in UTF-8 bytes; byte strings, in bytes.
    public static let modelMax = 64
    public static let quantizationMax = 16
    public static let nameMax = 32
    public static let cacheHandleMax = 32
    public static let reasonMax = 32
    public static let failCodeMax = 64
    public static let failMessageMax = 400
    public static let droppedFieldMax = 64
    /// A body part, and a delta's or finish's text and extra each.
    public static let payloadMax = 15_000
    /// A request's JSON, and the delivered text before it.
    public static let taskBodyMax: UInt32 = 8 << 20

    // Counts of repeated fields.
    public static let contactEndpointsMax = 4
    public static let offerEndpointsMax = 2
    public static let registrationEndpointsMax = 2
    public static let versionsMax = 4
    public static let foundContactsMax = 8
    public static let registrationsMax = 8
    public static let mailOffersMax = 2
    /// As many pairs of 19 bytes as fit in an envelope.
    public static let digestOffersMax = 56
    public static let wantedMax = 32
    public static let quantizationsMax = 8
    public static let droppedFieldsMax = 16

    // Numbers that are refused above these.
    public static let priceMax: Int64 = 1_000_000_000_000_000
    public static let costMax = Money(microCredits: 1_000_000_000_000_000)
    public static let attemptMax: UInt32 = 65_535
    /// Twice this fits in `Int64`, and adding one never overflows.
    public static let sequenceMax: UInt64 = 1 << 61
    public static let offsetMax: UInt64 = 1 << 40
    public static let receiptTokensMax: UInt64 = 1_000_000_000_000

    // Numbers that are clamped to these.
    public static let durationMax: UInt32 = 24 * 3_600 * 1_000
    public static let closeMax: UInt32 = 250
    public static let tokensMax: UInt32 = 100_000_000
    public static let millitokensPerSecondMax: UInt32 = 1_000_000_000
    public static let slotsMax: UInt32 = 4_096
    public static let windowMax: UInt32 = 16 << 20
    public static let moreMax: UInt32 = 1_000_000
    public static let scoreMax: UInt64 = 1 << 62
    public static let timeValueMax: UInt32 = 1_000_000_000
    public static let trustPowerMax: UInt32 = 8
    /// The last millisecond of the year 9999.
    public static let dateMax = WallTime(milliseconds: 253_402_300_799_999)
}

extension String {
    /// The longest prefix of whole Unicode scalars that takes at most `max` bytes of UTF-8.
    public func limited(toUTF8 max: Int) -> String {
        guard utf8.count > max else { return self }
        var end = unicodeScalars.startIndex
        var size = 0
        for index in unicodeScalars.indices {
            size += UTF8.width(unicodeScalars[index])
            if size > max { break }
            end = unicodeScalars.index(after: index)
        }
        return String(self[..<end])
    }
}
