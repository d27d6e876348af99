import Primitives

// Plain, slow and obviously correct references for containers that several test targets use.

/// A rate limit of `rate` tokens a second, or one per interval, with at most `burst` saved: a level that
/// rises with time.
package struct PlainRateLimit {
    private let perToken: Int64
    private let full: Int64
    private var level: Int64
    private var last = MonotonicTime.zero

    package init(every interval: Interval, burst: Int) {
        perToken = interval.nanoseconds
        full = perToken * Int64(burst)
        level = full
    }

    package init(rate: Int, burst: Int) {
        self.init(every: Interval(nanoseconds: 1_000_000_000 / Int64(rate)), burst: burst)
    }

    /// `now` never decreases.
    private func level(at now: MonotonicTime) -> Int64 {
        let gained = (now - last).nanoseconds
        return gained >= full - level ? full : level + gained
    }

    package func has(_ count: Int, _ now: MonotonicTime) -> Bool { level(at: now) >= perToken * Int64(count) }

    package mutating func take(_ now: MonotonicTime) -> Bool {
        level = level(at: now)
        last = now
        guard level >= perToken else { return false }
        level -= perToken
        return true
    }
}

/// Values by key, in the order of first insertion.
package struct PlainTable<Key: Equatable, Value> {
    package var entries: [(key: Key, value: Value)] = []

    package init() {}

    package var count: Int { entries.count }

    package subscript(key: Key) -> Value? {
        get { entries.first { $0.key == key }?.value }
        set {
            let place = entries.firstIndex { $0.key == key }
            switch (place, newValue) {
            case (let place?, let value?): entries[place].value = value
            case (nil, let value?): entries.append((key, value))
            case (let place?, nil): entries.remove(at: place)
            case (nil, nil): break
            }
        }
    }
}

/// Planned events sorted by time; equal times keep the order of planning.
package struct PlainSchedule<Item: Equatable> {
    package private(set) var planned: [(time: Int64, item: Item)] = []

    package init() {}

    package mutating func add(_ item: Item, at time: Int64) {
        planned.insert((time, item), at: planned.firstIndex { $0.time > time } ?? planned.count)
    }

    package mutating func remove(_ item: Item) { planned.removeAll { $0.item == item } }

    package mutating func takeFirst() -> (time: Int64, item: Item)? {
        planned.isEmpty ? nil : planned.removeFirst()
    }
}
