#pragma once
#include <octet/export.h>

#include <type_traits>

namespace OCTET_EXPORT octet {

/// A reference to something callable, for the length of one call (std::function would bring
/// 28,000 preprocessed lines).
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  FunctionRef(F&& f)  // NOLINT: implicit on purpose
      requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(static_cast<Args&&>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, static_cast<Args&&>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

}  // namespace octet
