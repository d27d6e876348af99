// One OpenDHT node in one process, told what to do by lines on stdin; the lines are described in network.py.
//
//     opendht_node ADDRESS PORT [ADDRESS:PORT of a node to join by …]
//
// Two settings differ from OpenDHT's defaults, both in its favour here: the limits of requests a second are lifted, since
// 64 nodes share one address; and a get stops at the first value, as ours does.

#include <opendht.h>

#include <atomic>
#include <chrono>
#include <iostream>
#include <mutex>
#include <sstream>
#include <unistd.h>

using Clock = std::chrono::steady_clock;

static void say(const std::string &json) {
    static std::mutex mutex;
    std::lock_guard<std::mutex> lock(mutex);
    const std::string line = "{" + json + "}\n";
    if (write(STDOUT_FILENO, line.data(), line.size()) < 0) _exit(1);
}

static std::string since(Clock::time_point start) {
    return ", \"ms\": " + std::to_string(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
}

static std::string truth(bool value) { return std::string(", \"ok\": ") + (value ? "true" : "false"); }

int main(int count, char **words) {
    if (count < 3) return 64;
    dht::DhtRunner::Config config;
    config.threaded = true;
    config.dht_config.node_config.network = 77;
    config.dht_config.node_config.max_req_per_sec = -1;
    config.dht_config.node_config.max_peer_req_per_sec = -1;
    config.bind4 = dht::SockAddr::resolve(words[1], words[2]).front();

    std::atomic<bool> connected{count == 3};
    dht::DhtRunner::Context context;
    context.statusChangedCallback = [&](dht::NodeStatus v4, dht::NodeStatus) {
        if (v4 == dht::NodeStatus::Connected && !connected.exchange(true)) say("\"connected\": true");
    };
    dht::DhtRunner node;
    node.run(config, std::move(context));
    for (int index = 3; index < count; index++) {
        const std::string address = words[index];
        const auto colon = address.rfind(':');
        node.bootstrap(address.substr(0, colon), address.substr(colon + 1));
    }
    say("\"ready\": \"" + std::string(words[1]) + ":" + words[2] + "\"");
    if (count == 3) say("\"connected\": true");

    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream input(line);
        std::string order, id, key;
        input >> order >> id >> key;
        const auto start = Clock::now();
        const auto hash = dht::InfoHash::get(key);
        if (order == "put") {
            size_t size = 0;
            input >> size;
            std::vector<uint8_t> data(size, 'x');
            node.put(hash, std::make_shared<dht::Value>(data.data(), data.size()), [=](bool ok) {
                say("\"put\": " + id + truth(ok) + since(start));
            });
        } else if (order == "get") {
            auto found = std::make_shared<std::atomic<bool>>(false);
            node.get(
                hash,
                [=](const std::vector<std::shared_ptr<dht::Value>> &values) {
                    if (!values.empty() && !found->exchange(true)) say("\"first\": " + id + since(start));
                    return false;
                },
                [=](bool) { say("\"got\": " + id + truth(found->load()) + since(start)); });
        } else if (order == "stats") {
            say("\"stats\": " + id + ", \"contacts\": " + std::to_string(node.getNodesStats(AF_INET).good_nodes));
        }
    }
    _exit(0);
}
