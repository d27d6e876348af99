import Primitives
import Wire

/// Who is near what in the id space, and the tables that follow.
extension StudyMesh {
    /// The `count` nodes of `sorted` that are nearest to `target`.
    func nearest(_ count: Int, to target: Bytes32, in sorted: [Int32]) -> [Int] {
        var range = sorted.indices
        var bits = 0
        while bits < 256 {
            let inner = Self.range(sorted, ids, range, target, bits: bits + 1)
            if inner.count < count { break }
            range = inner
            bits += 1
        }
        let near = sorted[range].sorted { ids[Int($0)].value ^ target < ids[Int($1)].value ^ target }
        return near.prefix(count).map(Int.init)
    }

    /// The honest node that is nearest to `target`.
    func nearestHonest(to target: Bytes32, but excluded: Int) -> Int? {
        var wanted = 8
        while true {
            let near = nearest(wanted, to: target, in: order)
            if let first = near.first(where: { behaviours[$0] == .honest && $0 != excluded }) { return first }
            guard near.count < count else { return nil }
            wanted *= 4
        }
    }

    /// The part of `within` whose ids share the first `bits` bits with `point`.
    private static func range(
        _ sorted: [Int32], _ ids: [NodeID], _ within: Range<Int>, _ point: Bytes32, bits: Int
    ) -> Range<Int> {
        func mask(_ word: Int) -> UInt64 {
            let kept = min(max(bits - 64 * word, 0), 64)
            return kept == 64 ? .max : ~(UInt64.max >> UInt64(kept))
        }
        let masks = (mask(0), mask(1), mask(2), mask(3))
        func cut(_ v: Bytes32) -> Bytes32 {
            Bytes32(v.w0 & masks.0, v.w1 & masks.1, v.w2 & masks.2, v.w3 & masks.3)
        }
        let prefix = cut(point)
        func bound(_ isBefore: (Bytes32) -> Bool) -> Int {
            var low = within.lowerBound
            var high = within.upperBound
            while low < high {
                let middle = (low + high) / 2
                if isBefore(cut(ids[Int(sorted[middle])].value)) { low = middle + 1 } else { high = middle }
            }
            return low
        }
        return bound { $0 < prefix }..<bound { !(prefix < $0) }
    }

    /// Up to k random nodes of each distance bucket, at most two of a /24 in a bucket and ten in all.
    func table(of node: Int, _ random: inout SeededRandom) -> [Verified<Contact>] {
        var chosen: [Verified<Contact>] = []
        // Honest nodes have networks of their own.
        var crowded: [UInt64: Int] = [:]
        let own = ids[node].value
        var outer = order.indices
        for bit in 0..<256 where outer.count > 1 {
            let inner = Self.range(order, ids, outer, own, bits: bit + 1)
            let bucket = Array(order[outer.lowerBound..<inner.lowerBound])
            let other = order[inner.upperBound..<outer.upperBound]
            var pick: [Int32]
            let size = bucket.count + other.count
            func at(_ index: Int) -> Int32 {
                index < bucket.count ? bucket[index] : other[other.startIndex + index - bucket.count]
            }
            if size <= 2 * parameters.bucketSize {
                pick = random.sample(size, of: bucket + Array(other))
            } else {
                pick = []
                var drawn: Set<Int> = []
                while pick.count < 2 * parameters.bucketSize {
                    let index = random.below(size)
                    if drawn.insert(index).inserted { pick.append(at(index)) }
                }
            }
            var taken = 0
            var prefixes: [UInt64] = []
            for candidate in pick where taken < parameters.bucketSize {
                let prefix = contacts[Int(candidate)].record.endpoints[0].prefix
                guard prefixes.count(where: { $0 == prefix }) < parameters.groupBucketMax else { continue }
                if behaviours[Int(candidate)] == .lying {
                    guard crowded[prefix, default: 0] < parameters.groupTableMax else { continue }
                    crowded[prefix, default: 0] += 1
                }
                prefixes.append(prefix)
                chosen.append(contacts[Int(candidate)])
                taken += 1
            }
            outer = inner
        }
        return chosen
    }
}
