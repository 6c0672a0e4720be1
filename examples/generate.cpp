// Text from a model: generate MODEL "What is 17 * 24?"
#include <octet/octet.h>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 3) return std::cerr << "usage: generate MODEL PROMPT\n", 2;
  octet::Model model = octet::Model::open(argv[1]);
  octet::Session session(model);
  for (std::string_view piece : session.stream(argv[2])) std::cout << piece << std::flush;
  std::cout << "\n";
} catch (const octet::Error& error) {
  std::cerr << "generate: " << to_string(error.code()) << ": " << error.what() << "\n";
  return 1;
}
