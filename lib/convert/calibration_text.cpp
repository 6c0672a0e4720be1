// The text that conversion calibrates with unless another is given; written for octet. It mixes
// what small models are asked for: prose, dialogue, explanations, arithmetic, code, data, and some
// sentences in other languages.
#include "lib/convert/calibration.h"

namespace octet {

std::string_view calibration_text() {
  static constexpr char text[] =
      R"TEXT(The harbour master kept three clocks on her wall, and none of them agreed. The first had come with the office, the second from a ship that was broken up in the spring after the great storm, and the third she had bought herself, because she thought that with three she could at least take a vote. Every morning at half past six she walked to the end of the mole, looked at the tide mark on the stone, and decided for herself what time it was. "The sea is slow," she used to say, "but it has never once been late."

On the day when the stranger arrived, the water stood higher than the table in the almanac allowed. He came in a grey boat without a name, tied it to the wrong ring, and asked in careful words whether there was somebody who could mend a compass.

"What is wrong with it?" she asked.

"It points at me," he said. "Wherever I stand, it turns around and points at me."

She laughed, then saw that he did not. Inside the shed, among coils of rope and tins of paint, old Tobias took the instrument in both hands and turned it over. He had repaired barometers, a harmonium, and the left arm of a wooden saint, but never anything like this. The needle swung past north without a pause and settled on the stranger's chest.

"Empty your pockets," said Tobias. There were a handkerchief, two coins, a folded letter, and a key of black iron as long as a finger. When the key lay on the bench, the needle followed it. "There you have it. Nothing is wrong with the compass. What does the key open?"

"I was hoping," the stranger said, "that it would tell me."

---

How does a refrigerator work? A refrigerator does not make cold; it moves heat. A liquid with a low boiling point, the refrigerant, flows through a narrow valve into a region of low pressure, where it evaporates. Evaporation takes up energy, and that energy comes from the air inside the cabinet, which therefore becomes cooler. A compressor then squeezes the vapour, which makes it hot, and pushes it through the coils at the back. There it gives its heat to the room, condenses into a liquid, and the cycle begins again. For this reason the kitchen gets slightly warmer, not cooler, if you leave the door of the refrigerator open: the electrical energy that drives the compressor ends up as heat as well.

The coefficient of performance is the heat removed divided by the work that was needed. For an ideal machine between the temperatures T_c and T_h, in kelvin, it is T_c / (T_h - T_c). With 275 K inside and 300 K outside this gives 275 / 25 = 11; real machines reach between two and four.

1. Water boils at a lower temperature on a mountain because the pressure of the air is lower.
2. Salt lowers the freezing point of water, so that ice on a road melts a few degrees below zero.
3. Metal feels colder than wood at the same temperature, since it conducts heat away from the hand.
4. A black car in the sun becomes hotter than a white one; at night both cool at about the same rate.

Question: A train leaves at 9:40 and travels 210 kilometres at an average of 84 kilometres per hour. When does it arrive?
Answer: The journey takes 210 / 84 = 2.5 hours, that is 2 hours and 30 minutes. 9:40 plus 2:30 is 12:10, so the train arrives at ten past twelve.

Question: A shop reduces a coat from 80 euros by 15 percent, and then takes another 10 percent off the new price. What does the coat cost, and how much was it reduced in total?
Answer: After the first step it costs 80 * 0.85 = 68 euros, after the second 68 * 0.9 = 61.20 euros. The total reduction is 18.80 euros, which is 23.5 percent, not 25 percent.

Question: Solve x^2 - 5x + 6 = 0.
Answer: We look for two numbers whose product is 6 and whose sum is 5. These are 2 and 3, so x^2 - 5x + 6 = (x - 2)(x - 3), and the solutions are x = 2 and x = 3. Check: 4 - 10 + 6 = 0 and 9 - 15 + 6 = 0.

<think>
The user wants to know how many of the numbers from 1 to 100 are divisible by 3 or by 5. Multiples of 3: floor(100/3) = 33. Multiples of 5: 20. Multiples of both, i.e. of 15: floor(100/15) = 6. Inclusion and exclusion: 33 + 20 - 6 = 47. Let me check with a smaller case: from 1 to 15 there are 5 + 3 - 1 = 7 numbers: 3, 5, 6, 9, 10, 12, 15. Yes, seven. So the answer is 47.
</think>
There are **47** such numbers: 33 multiples of 3 and 20 multiples of 5, of which the 6 multiples of 15 have been counted twice.

---

def merge(left, right):
    """Merge two sorted lists into one sorted list."""
    result = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            result.append(left[i])
            i += 1
        else:
            result.append(right[j])
            j += 1
    result.extend(left[i:])
    result.extend(right[j:])
    return result


def merge_sort(values):
    if len(values) < 2:
        return list(values)
    middle = len(values) // 2
    return merge(merge_sort(values[:middle]), merge_sort(values[middle:]))


print(merge_sort([5, 2, 9, 1, 5, 6]))  # [1, 2, 5, 5, 6, 9]

The function divides the list into two halves, sorts each of them, and joins the results. Since the list is halved about log2(n) times and every level costs n steps, the running time is O(n log n). It needs additional memory for n elements, but it is stable: elements that compare equal keep their order.

#include <cstdio>
#include <string>
#include <unordered_map>

// Counts the words of standard input and prints the ten most frequent ones.
int main() {
  std::unordered_map<std::string, int> count;
  char word[256];
  while (std::scanf("%255s", word) == 1) ++count[word];
  for (int i = 0; i < 10 && !count.empty(); ++i) {
    auto best = count.begin();
    for (auto it = count.begin(); it != count.end(); ++it)
      if (it->second > best->second) best = it;
    std::printf("%6d %s\n", best->second, best->first.c_str());
    count.erase(best);
  }
  return 0;
}

SELECT customer.name, COUNT(*) AS orders, SUM(item.price * item.quantity) AS total
FROM customer
JOIN purchase ON purchase.customer_id = customer.id
JOIN item ON item.purchase_id = purchase.id
WHERE purchase.day >= '2024-01-01'
GROUP BY customer.name
HAVING COUNT(*) > 3
ORDER BY total DESC;

{"name": "weather-station", "version": "1.4.2", "sensors": [{"id": 7, "kind": "temperature", "unit": "C", "values": [12.4, 12.9, 13.1, 12.7]}, {"id": 8, "kind": "humidity", "unit": "%", "values": [71, 69, 70, 74]}], "online": true}

| Planet  | Distance from the sun (million km) | Moons |
|---------|------------------------------------|-------|
| Mercury | 58                                 | 0     |
| Earth   | 150                                | 1     |
| Mars    | 228                                | 2     |
| Jupiter | 778                                | 95    |

---

User: My plant has yellow leaves. What should I do?
Assistant: Yellow leaves most often come from too much water. Put a finger two centimetres into the soil: if it is still wet, wait with watering until it has dried, and make sure that the pot has a hole through which water can drain. If the soil is dry and hard, the plant may have had too little. Other causes are a lack of light, a lack of nitrogen (older leaves turn yellow first), or simply age, since every leaf dies at some time. Which plant is it, and where does it stand?
User: A fern, in the bathroom. There is no window.
Assistant: Then light is the likeliest reason. Ferns like shade and moist air, so a bathroom suits them, but they cannot live without daylight. Give it a place near a window that faces north or east for a few weeks, or use a lamp for plants for about twelve hours a day.
User: Thank you! Could you write me a short poem about it?
Assistant: Of course.

A fern stood in a room of tile,
and had not seen the sun a while;
its green grew pale, its fronds hung low,
it had forgotten how to grow.
They moved it to the eastern sill:
it drinks the morning there, and will.

---

Dear Ms. Okafor,

thank you for your letter of 3 March. We have looked into the matter of the delayed parcel (reference 48-2207-B) and are sorry to tell you that it was sent to the wrong depot because of a misread postcode. It is now on its way and should reach you by Thursday at the latest. As a small apology we have refunded the postage of $12.95 to your account. If it has not arrived by Friday, please call 555-0147 between 8 a.m. and 6 p.m., and ask for the tracing desk.

Yours sincerely,
Henrik Lindqvist
Customer Service

The committee met for the fourth time in October. Its members agreed that the bridge could not be saved in its present form, but they disagreed, sometimes sharply, about what should replace it. Engineers argued for concrete, which is cheap to maintain; historians wanted the old arches back, stone for stone; and the shopkeepers on both banks asked only that it should be finished before the summer. In the end a compromise was found that pleased nobody entirely. The new bridge would have the outline of the old one, a steel core hidden behind sandstone, and a lane for bicycles, which had been in nobody's plan at the beginning. It cost eleven percent more than had been estimated and opened two weeks early.

Under the law of supply and demand, the price of a good rises when more of it is wanted than is offered, and falls in the opposite case. That sounds simple, yet it rests on assumptions: that buyers know the prices, that sellers compete, and that nobody is large enough to set the terms alone. Where they do not hold, markets can fail. A monopolist produces less than would be best for all, because every additional unit lowers the price of those already sold. A factory that pollutes a river does not pay for the damage, so it produces too much. Governments answer such failures with taxes, rules, or public ownership, each of which has costs of its own.

In the year 1687 Isaac Newton published his laws of motion. The first says that a body keeps its velocity unless a force acts on it; the second that force equals mass times acceleration, F = m a; the third that to every action there is an equal and opposite reaction. Together with the law of gravitation, F = G m1 m2 / r^2, they explained the fall of an apple and the orbit of the moon by the same cause. It took more than two centuries until the limits of this picture became clear: near the speed of light, and close to very heavy masses, Einstein's theory of relativity takes its place.

Photosynthesis turns carbon dioxide and water into sugar and oxygen: 6 CO2 + 6 H2O -> C6H12O6 + 6 O2. In plants it happens in the chloroplasts. Pigments such as chlorophyll absorb red and blue light and reflect green, which is why leaves look the way they do. The light reactions split water and charge up ATP and NADPH; the Calvin cycle uses both to build sugar out of carbon dioxide, in the dark as well as in the light.

---

Mix 250 g of flour, a pinch of salt and 3 eggs. Add half a litre of milk little by little, stirring all the time, so that no lumps form. Let the batter rest for thirty minutes. Heat a pan with some butter over medium heat, pour in one ladle, tilt the pan until the bottom is covered, and turn the pancake as soon as its edge comes off. Serve at once, with sugar and lemon, with jam, or with cheese and spinach. The quantities are enough for eight to ten pancakes.

Die Brücke am unteren Tor wurde im vergangenen Herbst gesperrt, weil sich ein Riss im mittleren Pfeiler gezeigt hatte. Seitdem fahren die Busse einen Umweg von fast zwanzig Minuten. La bibliothèque ouvre à neuf heures et ferme à dix-huit heures, sauf le dimanche; les enfants peuvent emprunter cinq livres à la fois. El tren de las ocho siempre llega tarde, pero nadie se queja, porque el café de la estación es el mejor de la ciudad. 今天的天气很好，我们决定去公园散步。湖边有很多人在放风筝，孩子们笑着跑来跑去。请问，最近的地铁站怎么走？一直往前走，在第二个路口左转，大约五分钟就到了。 問題は、どの道を選ぶかではなく、いつ出発するかである。

Chapter Two

Nobody in the valley remembered who had built the tower, and so everybody had a theory. The miller held that it had been a lighthouse, although the sea was four days away. His wife believed in a giant. The schoolteacher, Miss Abernathy, who had read every one of the forty-one books in the village and some of them twice, said that it was a sundial: on the longest day of the year its shadow reached exactly to the door of the church, and on the shortest it touched the oldest of the graves. But what did the window mean, then, high up under the roof, behind which on some evenings a light could be seen?

It was Anna who found the stairs. She had been looking for a goat. Behind the brambles on the northern side there was a gap between two stones, just wide enough for a child of ten, and behind the gap began a flight of steps, worn in the middle as if thousands of feet had gone up and down. She counted them aloud, as she did with everything. At one hundred and twelve she stopped, because somebody above her was counting, too.

"One hundred and thirteen," said the voice, not unkindly. "Go on. Most people give up at ninety."

Error: could not open file 'settings.toml' (No such file or directory)
  at load_settings (config.rs:42)
  at main (main.rs:17)
warning: unused variable: `path`
$ git status
On branch main
Your branch is ahead of 'origin/main' by 2 commits.
$ python3 -m http.server 8000 --bind 127.0.0.1
Serving HTTP on 127.0.0.1 port 8000 (http://127.0.0.1:8000/) ...

Summary of the meeting: (a) the release moves from May 6 to May 20; (b) Priya takes over the tests for the payment module; (c) the budget for external translations is raised to 4,500 per quarter; (d) the next meeting is on Tuesday, 14:00, in room B2.17. Open points: who informs the partners, and whether the old interface stays available until the end of the year.

Is it possible to be certain of anything? Descartes doubted his senses, which had deceived him before, and even the truths of arithmetic, since a powerful demon might mislead him whenever he added two and three. One thing alone remained: that he was doubting, and so that he existed. Later philosophers were not satisfied. Hume remarked that when he looked into himself he found only perceptions, never the one who had them; and Wittgenstein asked what doubt could mean to somebody who held nothing fast at all, for whoever tries to doubt everything does not get as far as doubting anything. Perhaps the better question is not whether we can be certain, but how much certainty we need in order to act.

The wind had turned during the night. When the boys came down to the beach, the sand was covered with shells, blue and grey and white, and among them lay bottles, a boot, a piece of carved wood, and, half buried, the thing that would keep the island talking for years. It was round and dark, about as large as a cartwheel, and warm to the touch. Sam wanted to roll it home. Peter, who was older and had therefore been wrong more often, said that they should first ask somebody what it was.

---

And it was told among the shepherds of the high country that no man is richer than his well. For a house may burn and be raised again, and a herd that is scattered may be gathered before the snow; but he whose well is dry has neither house nor herd. There was one Amnon, who had seven wells, and he set a guard on each of them, and whoever was thirsty paid. The years went by, and the rain was small, and one after the other the wells of Amnon failed. Then he went on foot to the valley, to a widow who had one well only and no guard, and he said to her: What is the price of a cup? And she answered him: Thou hast come far; drink first. What profit is there in counting, when the thirsty stand at the door? So he drank, and he wept, and he took down the fences that were left to him.

There is a time to keep and a time to lend, said the old ones, and the fool learns the second when the first has gone by. Better is a handful of barley with a neighbour than a full barn in a country where no man knows thy name.

---

The committee's second report, published on Thursday, takes a different view. It finds that between 2011 and 2019 spending on local transport fell by 18 per cent in real terms, while the number of journeys rose slightly; the difference was met largely by higher fares. "It is hard to see how this can continue," the report says. Members were divided over the remedy. A majority would return the power to set timetables to the districts, which lost it a generation ago; three of them, in a dissenting note, argue that the districts have neither the staff nor the money, and that a single authority for each region would be cheaper. The minister said that he would study both proposals and answer before the summer recess. Opposition speakers called that too late: contracts for the next five years have to be signed in April.

---

Q: My program prints nothing and then exits with status 1. How do I find out why?

A: First look at what it writes to the standard error stream, which is often sent somewhere else by a script. If there is nothing, run it again under a tracer:

    strace -f -o trace.txt ./program --config local.ini
    grep -n ENOENT trace.txt | tail

The last file that could not be opened is usually the one that was missed. If the program was killed by a signal, the shell shows 128 plus the number of the signal, so that 139 means a segmentation fault (signal 11). In that case enable core files with `ulimit -c unlimited` and open the result in a debugger.

Q: Is it safe to delete the files in the cache directory?

A: Yes. They are made again when they are needed, which takes some time at the next start. Do not delete the directory itself while the program is running, since it keeps a lock file there.

---

class Matrix:
    """A dense matrix of floats, stored by rows."""

    def __init__(self, rows, columns, values=None):
        self.rows = rows
        self.columns = columns
        self.values = values if values is not None else [0.0] * (rows * columns)

    def __matmul__(self, other):
        if self.columns != other.rows:
            raise ValueError(f"shapes {self.rows}x{self.columns} and {other.rows}x{other.columns}")
        result = Matrix(self.rows, other.columns)
        for i in range(self.rows):
            for k in range(self.columns):
                factor = self.values[i * self.columns + k]
                for j in range(other.columns):
                    result.values[i * other.columns + j] += factor * other.values[k * other.columns + j]
        return result

The order of the loops matters. With `k` in the middle the innermost loop walks along a row of both `other` and `result`, so that neighbouring values are read one after the other; with `j` in the middle it would jump a whole row at each step.

---

Problem. A train leaves Aldbury at 9:40 and travels at 80 km/h. A second train leaves the same station at 10:10 on the same line and travels at 100 km/h. When and where does it catch up?

Solution. When the second train starts, the first has been on its way for 30 minutes and is 80 * 0.5 = 40 km ahead. The distance between them shrinks by 100 - 80 = 20 km each hour, so it takes 40 / 20 = 2 hours. The second train catches up at 12:10, after 2 * 100 = 200 km. Check: the first has by then travelled for 2.5 hours, and 2.5 * 80 = 200. The answer is 12:10, 200 km from Aldbury.

Problem. The sum of three consecutive odd numbers is 57. Which are they? Let the middle one be n. Then (n - 2) + n + (n + 2) = 3n = 57, so n = 19, and the numbers are 17, 19 and 21.

---

Dear Mrs. Okafor,

thank you for your letter of the 3rd. I am sorry to hear that the second parcel reached you damaged as well. Please keep the box and, if you can, take two photographs of it; the carrier asks for them before it pays. I have sent a third set today, at our own cost, in a wooden crate this time, and it should be with you by Wednesday. You need not return the broken pieces. Should anything be missing, telephone me directly (extension 214) rather than the service desk, and I shall see to it at once.

Yours sincerely,
J. Halvorsen

---

Volcanic islands begin far below the surface. Where a column of hot rock rises through the mantle, it melts as the pressure falls, and the melt breaks through the floor of the ocean. Layer upon layer of lava builds a mountain that may need a million years to reach the air. Then rain and waves begin to take it down again. As the plate moves on, the island is carried away from the source of heat, cools, becomes denser, and sinks; in warm seas corals keep growing at its edge, and in the end a ring of reef is all that shows where the mountain stood. Charles Darwin proposed this in 1842, before he or anyone else had a way to test it. More than a century later, drilling on Enewetak went through 1,400 metres of coral limestone before it reached basalt.

| island | age (million years) | height (m) |
|---|---|---|
| first | 0.4 | 4,170 |
| second | 1.3 | 3,055 |
| third | 3.7 | 1,227 |
| fourth | 5.1 | 1,598 |

---

"You are late," said the conductor, without turning round.

"The bridge was closed."

"The bridge is always closed on Mondays. Sit down. Bar forty, and this time, I beg you, count."

She counted. The oboe came in where the oboe should, the strings held their breath, and for the length of eleven bars nobody in the cold hall thought of the rent, the war, or supper. Then the lamp went out. In the dark somebody laughed, somebody else took up the tune, and they played it through to the end by heart, with only two mistakes, both of them the conductor's.

To make the dough, mix 500 g of flour, 320 ml of lukewarm water, 10 g of salt and 7 g of dry yeast; knead for ten minutes, cover, and let it rest until it has doubled, which takes about an hour in a warm kitchen. Divide into four, shape each piece into a ball, and let them rest again for fifteen minutes while the oven heats to 250 degrees. Bake for twelve to fifteen minutes, until the crust sounds hollow when it is tapped.

The defendant pleaded that the clause was void for want of certainty. The court disagreed. A term is not uncertain merely because it has to be interpreted; it is so only if no meaning can be given to it. "Reasonable notice" has a meaning, although what is reasonable depends on the circumstances: among merchants in the same town three days may be enough, between parties on two continents three weeks may not. The appeal was therefore dismissed, with costs.

What the map left out was the noise. On paper the market was an empty square between the church and the river; in truth there were four hundred people in it before sunrise, and each of them had something to say about the price of onions. Lena pushed her cart through the crowd with her elbows. Behind the fish stalls, where the cobbles were always wet, she found the place that her aunt had paid for, and a man asleep on it. He had a dog, an accordion, and no intention of waking up. She looked at the sky, at the dog, and at the onions. Then she sat down on the end of the cart and began to sell.
)TEXT";
  return text;
}

}  // namespace octet
