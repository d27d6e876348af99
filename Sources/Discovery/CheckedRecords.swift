import Cryptography
import Primitives
import Wire

/// Records whose signatures were checked lately, so that a contact listed in every answer of a walk is
/// checked only once (a check costs as much as twenty datagrams). A ring: the oldest goes first. A flood of
/// new records only makes it useless.
struct CheckedRecords<R: Record>: Sendable {
    /// More than the strangers met in one search; about 20 KB when full.
    static var capacity: Int { 64 }
    /// A word of each signature, compared first.
    private var marks: [UInt64] = []
    private var records: [Verified<R>] = []
    private var oldest = 0

    /// The checked form of exactly this record.
    func find(_ record: SignedRecord) -> Verified<R>? {
        let mark = record.signature.r.w0
        guard let index = marks.firstIndex(of: mark), records[index].signed == record else { return nil }
        return records[index]
    }

    mutating func insert(_ record: Verified<R>) {
        let mark = record.signed.signature.r.w0
        if records.count < Self.capacity {
            marks.append(mark)
            records.append(record)
        } else {
            marks[oldest] = mark
            records[oldest] = record
            oldest = (oldest + 1) % Self.capacity
        }
    }
}
