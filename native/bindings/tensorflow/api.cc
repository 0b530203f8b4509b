#include "api.h"

#include <dlfcn.h>

#include <initializer_list>

namespace conveyor {

#define CONVEYOR_TF_DEFINE(result, name, arguments) result(*name) arguments = nullptr;
CONVEYOR_TF_FUNCTIONS(CONVEYOR_TF_DEFINE)
#undef CONVEYOR_TF_DEFINE

const char* find_tensorflow() {
  // Python loads it where other libraries do not see it, so it is asked for by its name; the
  // copy that runs already, and never another one.
  void* library = nullptr;
  for (const char* name : {"libtensorflow_framework.so.2", "@rpath/libtensorflow_framework.2.dylib",
                           "libtensorflow_framework.2.dylib"})
    if (library == nullptr) library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) library = RTLD_DEFAULT;
#define CONVEYOR_TF_FIND(result, name, arguments)                        \
  name = reinterpret_cast<result(*) arguments>(dlsym(library, #name)); \
  if (name == nullptr) return #name;
  CONVEYOR_TF_FUNCTIONS(CONVEYOR_TF_FIND)
#undef CONVEYOR_TF_FIND
  return nullptr;
}

}  // namespace conveyor
